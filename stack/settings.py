"""Every setting of Cohort: `COHORT_…` in the environment or in `.env`."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ProviderSettings(BaseSettings):
    """One provider route, in LiteLLM's terms; credentials are named, never written here."""

    model_config = SettingsConfigDict(extra="forbid")

    name: str
    model: str = Field(description="LiteLLM's name of the model, such as openai/gpt-4o-mini.")
    api_base: str | None = None
    api_key_env: str | None = Field(default=None, description="The environment variable that holds the key.")
    timeout: float = Field(default=60, gt=0, le=600, description="Seconds for one attempt.")
    context_tokens: int = Field(default=8_192, ge=256)
    groups: list[str] = Field(default=[], description="Only these groups and their descendants; empty means all.")


class Settings(BaseSettings):
    """Settings of the whole; unset data URLs mean the embedded stack under `home`."""

    model_config = SettingsConfigDict(env_prefix="COHORT_", env_file=".env", extra="ignore")

    home: Path = Field(default=Path(".cohort"), description="State of the embedded stack.")
    host: str = Field(default="127.0.0.1", description="Where the front door listens.")
    port: int = Field(default=8080, ge=1, le=65535, description="The front door's port.")
    temporal_port: int = Field(default=7233, ge=1, le=65535, description="Port of the embedded Temporal server.")
    temporal_ui_port: int = Field(default=8233, ge=1, le=65535, description="Port of the Temporal UI.")
    temporal_address: str | None = Field(default=None, description="A Temporal server of yours, host:port.")
    temporal_namespace: str = "default"
    database_url: str | None = Field(default=None, description="postgresql+asyncpg://…; SQLite under home if unset.")
    redis_url: SecretStr | None = Field(default=None, description="redis://…; an own server under home if unset.")
    vectors_url: str | None = Field(default=None, description="s3://bucket/prefix; a folder under home if unset.")
    uploads_url: str | None = Field(default=None, description="s3://bucket/prefix; a folder under home if unset.")
    secret_key: SecretStr | None = Field(default=None, description="32 bytes in base64; made under home if unset.")
    model: str | None = Field(default=None, description="LiteLLM's name of the default model; the local one if unset.")
    providers: list[ProviderSettings] = Field(default=[], description="Provider routes as a JSON list.")
    url: str = Field(default="http://127.0.0.1:8080", description="The front door that the CLI talks to.")
    api_key: SecretStr | None = Field(default=None, description="The CLI's key.")
    allowed_hosts: list[str] = Field(default=[], description="Host names that the front door answers to, besides its own.")
    otlp_endpoint: str | None = Field(default=None, description="OTLP over HTTP, such as http://localhost:4318.")
    demo: bool = Field(default=True, description="Load the demo world on the first start.")
    max_cached_workflows: int = Field(default=1000, ge=0, description="Workflows that a worker keeps in memory.")
