// Prisma's query engine for LiteLLM's Python client, from Prisma's own WebAssembly build.
//
// The native engine is no package: it is downloaded from a server of Prisma's when it is first needed. The WebAssembly
// build is in the npm package @prisma/client, takes its JSON protocol only, and leaves the SQL to a driver in
// JavaScript. So this is the native engine's HTTP server: it translates GraphQL, which the Python client speaks, and
// gives the answers in the form that GraphQL has. The queries, and the SQL of them, are Prisma's own.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindAdapter } from "@prisma/driver-adapter-utils";
import { parse } from "graphql";
import pg from "pg";

const require = createRequire(import.meta.url);
if (process.argv.includes("--version")) {
  console.log(`query-engine ${require("@prisma/engines-version/package.json").prisma.enginesVersion}`);
  process.exit(0);
}

// PostgreSQL's type `name` is text to the native engine; this adapter does not know it.
const NAMES_AS_TEXT = { 19: 25, 1003: 1009 };
const results = require("pg/lib/result").prototype;
const addFields = results.addFields;
results.addFields = function (fields) {
  for (const field of fields) field.dataTypeID = NAMES_AS_TEXT[field.dataTypeID] ?? field.dataTypeID;
  return addFields.call(this, fields);
};

const datamodel = readFileSync(process.env.PRISMA_DML_PATH, "utf8");
const types = new Map(
  [...datamodel.matchAll(/^model (\w+) \{$(.*?)^\}/gms)].map(([, model, fields]) => [
    model,
    new Map([...fields.matchAll(/^\s+(\w+)\s+(\w+)/gm)].map(([, field, type]) => [field, type])),
  ]),
);
const adapter = bindAdapter(new PrismaPg(new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })));
const trace = "{}";
const engine = await start();

async function start() {
  const path = require.resolve("@prisma/client/runtime/query_engine_bg.postgresql.js");
  const runtime = require(path);
  const module = new WebAssembly.Module(readFileSync(path.replace(/js$/, "wasm")));
  runtime.__wbg_set_wasm(new WebAssembly.Instance(module, { "./query_engine_bg.js": runtime }).exports);
  const options = {
    datamodel,
    env: process.env,
    logQueries: false,
    ignoreEnvVarErrors: true,
    datasourceOverrides: {},
    logLevel: "error",
    configDir: process.cwd(),
    engineProtocol: "json",
  };
  const started = new runtime.QueryEngine(options, () => {}, adapter);
  await started.connect(trace);
  return started;
}

const ACTION =
  /^(findUnique|findFirst|findMany|createOne|createMany|updateOne|updateMany|deleteOne|deleteMany|upsertOne|aggregate|groupBy)(.*?)(OrThrow)?$/;

function translate(text) {
  const field = parse(text, { noLocation: true }).definitions[0].selectionSet.selections[0];
  const name = field.name.value;
  const query = { arguments: argumentsOf(field), selection: selectionOf(field) };
  if (name === "queryRaw" || name === "executeRaw") return { action: name, query };
  const [, action, modelName, orThrow = ""] = ACTION.exec(name);
  query.arguments = withJson(query.arguments, modelName);
  return { modelName, action: action + orThrow, query };
}

function argumentsOf(field) {
  return Object.fromEntries((field.arguments ?? []).map((one) => [one.name.value, valueOf(one.value)]));
}

function selectionOf(field) {
  return Object.fromEntries(
    (field.selectionSet?.selections ?? []).map((one) => [
      one.name.value,
      one.selectionSet || one.arguments?.length ? { arguments: argumentsOf(one), selection: selectionOf(one) } : true,
    ]),
  );
}

function valueOf(node) {
  switch (node.kind) {
    case "IntValue":
      return Number.isSafeInteger(+node.value) ? +node.value : { $type: "BigInt", value: node.value };
    case "FloatValue":
      return Number(node.value);
    case "NullValue":
      return null;
    case "ListValue":
      return node.values.map(valueOf);
    case "ObjectValue":
      return Object.fromEntries(node.fields.map((field) => [field.name.value, valueOf(field.value)]));
    default: // strings, booleans, enums
      return node.value;
  }
}

// GraphQL sends a JSON column as a string; the JSON protocol would keep the string as a JSON string.
function withJson(value, model) {
  if (Array.isArray(value)) return value.map((one) => withJson(one, model));
  if (value === null || typeof value !== "object" || "$type" in value) return value;
  return mapped(value, (one, key) => {
    const type = types.get(model)?.get(key);
    return type === "Json" ? asJson(one) : withJson(one, types.has(type) ? type : model);
  });
}

function asJson(value) {
  if (typeof value === "string") return { $type: "Json", value };
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== "object") return value;
  return mapped(value, (one, key) => (key === "path" || key.startsWith("string_") ? one : asJson(one)));
}

function mapped(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}

function untagged(value) {
  if (Array.isArray(value)) return value.map(untagged);
  if (value === null || typeof value !== "object") return value;
  return "$type" in value ? value.value : mapped(value, untagged);
}

function answerOf(response) {
  return response.errors ? response : { ...response, data: { result: untagged(Object.values(response.data)[0]) } };
}

async function query(body, transaction) {
  const asked = JSON.parse(body);
  const send = async (request) => JSON.parse(await engine.query(JSON.stringify(request), trace, transaction));
  if (!asked.batch) return answerOf(await send(translate(asked.query)));
  const batch = asked.batch.map((one) => translate(one.query));
  const response = await send({ batch, transaction: asked.transaction ? {} : undefined });
  return response.batchResult ? { ...response, batchResult: response.batchResult.map(answerOf) } : response;
}

async function route(request, body) {
  const [, part, id, verb] = request.url.split("?")[0].split("/");
  if (part === "status") return { status: "ok" };
  if (part === "metrics") return { counters: [], gauges: [], histograms: [] };
  if (part !== "transaction") return query(body, request.headers["x-transaction-id"]);
  if (id === "start") return JSON.parse(await engine.startTransaction(body, trace));
  return JSON.parse((await engine[`${verb}Transaction`](id, trace)) ?? "{}");
}

createServer(async (request, reply) => {
  let body = "";
  for await (const part of request) body += part;
  try {
    reply.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(await route(request, body)));
  } catch (error) {
    console.error(String(error?.stack ?? error), body.slice(0, 2000));
    reply.writeHead(500).end(String(error));
  }
}).listen(Number(process.argv[process.argv.indexOf("-p") + 1]), "localhost");
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
