"use strict";
for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = document.getElementById("key").value.trim();
    const context = document.getElementById("context").value.trim();
    const [curl, answer] = form.parentElement.querySelectorAll("pre");
    let path = form.dataset.path;
    const query = new URLSearchParams();
    for (const input of form.querySelectorAll("input")) {
      const value = input.value.trim();
      if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
      else if (value) query.set(input.name, value);
    }
    const url = query.size ? `${path}?${query}` : path;
    const method = form.dataset.method.toUpperCase();
    const headers = { "X-API-Key": key };
    if (context) headers["X-Group-Context"] = context;
    const body = form.elements.body?.value;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    curl.textContent = [`curl ${quoted(location.origin + url)}`, `-X ${method}`, `-H 'X-API-Key: …'`,
      ...(context ? [`-H ${quoted(`X-Group-Context: ${context}`)}`] : []),
      ...(body !== undefined ? ["-H 'Content-Type: application/json'", `-d ${quoted(body)}`] : [])].join(" \\\n  ");
    answer.textContent = "…";
    try {
      const response = await fetch(url, { method, headers, body, credentials: "omit" });
      answer.textContent = `${response.status}\n${JSON.stringify(await response.json(), null, 2)}`;
    } catch (error) {
      answer.textContent = `The front door did not answer: ${error.message}`;
    }
  });
}
