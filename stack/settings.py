"""Every setting of Cohort: `COHORT_…` in the environment or in `.env`."""

import base64
import binascii
import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from stack import env_file
from stack.addresses import host_and_port, url_of
from stack.env_file import BadSettings
from stack.resolved import SECRET_BYTES, Resolved, StateFolder, embedded_redis_url, read_secret

__all__ = ["BadSettings", "ProviderSettings", "Resolved", "Settings", "names", "provider_environment"]

PREFIX = "COHORT_"
INTERNAL: dict[str, JsonValue] = {"internal": True}


class ProviderSettings(BaseModel):
    """One provider route, in LiteLLM's terms; credentials are named, never written here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="What completions ask for as `model`, and what the ledger says.")
    model: str = Field(description="LiteLLM's name of the model, such as openai/gpt-4o-mini.")
    api_base: str | None = Field(default=None, description="The provider's URL, where it is not the usual one.")
    api_key_env: str | None = Field(default=None, description="The environment variable that holds the key.")
    timeout: float = Field(default=60, gt=0, le=600, description="Seconds for one attempt.")
    context_tokens: int = Field(default=8_192, ge=256, description="How many tokens prompt and answer may have.")
    groups: list[str] = Field(default=[], description="Only these groups and their descendants; empty means all.")


def _master_secret(value: SecretStr) -> SecretStr:
    try:
        length = len(base64.b64decode(value.get_secret_value(), validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length != SECRET_BYTES:
        raise ValueError("it must be 32 bytes in base64 (make one with: openssl rand -base64 32)")
    return value


def _comma_separated(value: object) -> object:
    return [host.strip() for host in value.split(",") if host.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of the whole; unset data URLs mean the embedded stack under `home`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=env_file.NAME,
        env_file_encoding=env_file.ENCODING,
        extra="ignore",
        hide_input_in_errors=True,
    )

    home: Path = Field(default=Path(".cohort"), description="State of the embedded stack.")
    host: str = Field(default="127.0.0.1", description="Where the front door listens.")
    port: int = Field(default=8080, ge=1, le=65535, description="The front door's port.")
    temporal_port: int = Field(default=7233, ge=1, le=65535, description="Port of the embedded Temporal server.")
    temporal_ui_port: int = Field(default=8233, ge=1, le=65535, description="Port of the Temporal UI.")
    temporal_address: Annotated[str, AfterValidator(host_and_port)] | None = Field(
        default=None, description="A Temporal server of yours, host:port; an own server if unset."
    )
    temporal_namespace: str = Field(default="default", description="The namespace that the workflows run in.")
    database_url: Annotated[str, AfterValidator(url_of("postgresql+asyncpg", "sqlite+aiosqlite"))] | None = Field(
        default=None, description="postgresql+asyncpg://…; SQLite under home if unset."
    )
    redis_url: Annotated[SecretStr, AfterValidator(url_of("redis", "rediss", "unix"))] | None = Field(
        default=None, description="redis://…; an own server under home if unset."
    )
    vectors_url: str | None = Field(default=None, description="s3://bucket/prefix; a folder under home if unset.")
    uploads_url: str | None = Field(default=None, description="s3://bucket/prefix; a folder under home if unset.")
    secret_key: Annotated[SecretStr, AfterValidator(_master_secret)] | None = Field(
        default=None, description="32 bytes in base64; made under home if unset."
    )
    model: str | None = Field(default=None, description="LiteLLM's name of the default model; the local one if unset.")
    providers: list[ProviderSettings] = Field(default=[], description="Provider routes as a JSON list.")
    url: Annotated[str, AfterValidator(url_of("http", "https"))] = Field(
        default="http://127.0.0.1:8080", description="The front door that the CLI talks to."
    )
    api_key: SecretStr | None = Field(default=None, description="The CLI's key.")
    allowed_hosts: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default=[],
        description="Host names that the front door answers to, besides its own and addresses; separated by commas.",
    )
    otlp_endpoint: Annotated[str, AfterValidator(url_of("http", "https"))] | None = Field(
        default=None, description="OTLP over HTTP, such as http://localhost:4318."
    )
    demo: bool = Field(default=True, description="Load the demo world on the first start.")
    max_cached_workflows: int = Field(default=1000, ge=0, description="Workflows that a worker keeps in memory.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much the front door and the worker write to their logs."
    )
    local_llm_url: str | None = Field(
        default=None,
        description="The local model's URL, set by `cohort up` for its worker.",
        json_schema_extra=INTERNAL,
    )
    local_llm_key: SecretStr | None = Field(
        default=None,
        description="The local model's key, set by `cohort up` for its worker.",
        json_schema_extra=INTERNAL,
    )

    @classmethod
    def load(cls) -> "Settings":
        """The settings of this process, from its environment and from `.env` in the current folder.

        Raises:
            BadSettings: a name that does not exist, or a value that does not fit, in one sentence each; or a `.env`
                that cannot be read.
        """
        refuse_unknown([*os.environ, *env_file.read()])
        try:
            return cls()
        except ValidationError as error:
            raise BadSettings("\n".join(_sentence(detail["loc"], detail["msg"]) for detail in error.errors())) from None
        except SettingsError as error:
            field = re.search(r'field "(\w+)"', str(error))
            name = PREFIX + field[1].upper() if field else "A setting"
            raise BadSettings(f"{name} is not valid JSON.") from None

    def state_folder(self) -> StateFolder:
        """The layout of `home`, as an absolute path."""
        return StateFolder(self.home.expanduser().absolute())

    def resolved(self) -> Resolved:
        """What the processes need: concrete addresses, with the embedded stack's where nothing else is set.

        Raises:
            BadSettings: there is no usable master secret, neither in COHORT_SECRET_KEY nor in the state folder.
        """
        folder = self.state_folder()
        if self.secret_key is not None:
            secret = base64.b64decode(self.secret_key.get_secret_value())
        else:
            secret = _kept_secret(folder)
        return Resolved(
            folder=folder,
            url=f"http://{_reachable(self.host)}:{self.port}",
            temporal_address=self.temporal_address or f"127.0.0.1:{self.temporal_port}",
            temporal_ui=f"http://127.0.0.1:{self.temporal_ui_port}",
            temporal_namespace=self.temporal_namespace,
            database_url=self.database_url or f"sqlite+aiosqlite:///{folder.database}",
            redis_url=self.redis_url.get_secret_value() if self.redis_url else embedded_redis_url(folder),
            vectors_url=self.vectors_url or str(folder.vectors),
            uploads_url=self.uploads_url or str(folder.uploads),
            secret=secret,
        )

    def wants_local_llm(self) -> bool:
        """Whether the local model is the one that answers: no other is configured."""
        return self.model is None and not self.providers


def names() -> list[str]:
    """Every environment variable that is a setting."""
    return [PREFIX + field.upper() for field in Settings.model_fields]


def refuse_unknown(given: list[str]) -> None:
    """Refuse a `COHORT_` name that is no setting, since a typo would otherwise pass for the default.

    Raises:
        BadSettings: naming it, and the setting that looks most like it.
    """
    known = names()
    for name in given:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "the README lists them all."
            raise BadSettings(f"{name} is not a setting of Cohort: {hint}")


def provider_environment() -> dict[str, str]:
    """What `.env` holds besides settings, such as OPENAI_API_KEY: the worker's providers read it as their own."""
    return {
        name: value
        for name, value in env_file.read().items()
        if value is not None and not name.upper().startswith(PREFIX)
    }


def _kept_secret(folder: StateFolder) -> bytes:
    try:
        secret = read_secret(folder.secret)
    except OSError as error:
        raise BadSettings(f"{folder.secret} cannot be read ({error.strerror}): make it readable to you.") from None
    if secret is None:
        raise BadSettings(
            f"There is no master secret in {folder.secret}: run `cohort up` once, or set COHORT_SECRET_KEY."
        )
    if len(secret) != SECRET_BYTES:
        raise BadSettings(
            f"The master secret in {folder.secret} is damaged ({len(secret)} bytes instead of {SECRET_BYTES}); nothing "
            f"was changed. Restore it from a backup: without it no API key is valid. To begin anew without your data, "
            f"move {folder.path} away."
        )
    return secret


def _sentence(loc: tuple[int | str, ...], message: str) -> str:
    name = PREFIX + str(loc[0]).upper() if loc else "A setting"
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])
    reason = message.removeprefix("Value error, ")
    return f"{name}{place} cannot be used: {reason[:1].lower()}{reason[1:]}."


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)
