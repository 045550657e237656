"""Settings: a typo is found, a bad value names its variable, no secret is ever shown."""

import base64
from pathlib import Path

import pytest

from stack.settings import BadSettings, Settings, names, provider_environment

SECRET = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in names():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("COHORT_PROT", "COHORT_PORT"),
        ("COHORT_TEMPORAL_ADRESS", "COHORT_TEMPORAL_ADDRESS"),
        ("COHORT_DB_URL", "COHORT_URL"),
        ("cohort_homee", "COHORT_HOME"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(given: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(given, "x")
    with pytest.raises(BadSettings, match=f"^{given} is not a setting of Cohort: did you mean {meant}"):
        Settings.load()


def test_an_unknown_name_in_the_env_file_is_found_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COHORT_REDIS_ULR=redis://x\n")
    with pytest.raises(BadSettings, match=r"COHORT_REDIS_ULR .* did you mean COHORT_REDIS_URL"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("COHORT_PORT", "http", "valid integer"),
        ("COHORT_PORT", "70000", "less than or equal to 65535"),
        ("COHORT_TEMPORAL_ADDRESS", "temporal", "host:port"),
        ("COHORT_PROVIDERS", "[{", "not valid JSON"),
        ("COHORT_PROVIDERS", '[{"name": "a"}]', r"COHORT_PROVIDERS\[0\]\.model"),
        ("COHORT_PROVIDERS", '[{"name": "a", "model": "m", "key": "sk-hidden"}]', "not permitted"),
        ("COHORT_DEMO", "perhaps", "boolean"),
        ("COHORT_SECRET_KEY", "sk-hidden", "32 bytes in base64"),
        ("COHORT_DATABASE_URL", "mysql://me:sk-hidden@host/db", "postgresql"),
        ("COHORT_DATABASE_URL", "postgres://x", r"must begin with postgresql\+asyncpg:// or sqlite\+aiosqlite://\.$"),
        ("COHORT_DATABASE_URL", "postgresql+asyncpg://me:sk-hidden@host:port/db", "look at host and port"),
        ("COHORT_REDIS_URL", "foo", "must begin with redis://, rediss:// or unix://"),
        ("COHORT_REDIS_URL", "redis://:sk-hidden@host:port", "look at host and port"),
        ("COHORT_URL", "127.0.0.1:8080", "must begin with http:// or https://"),
        ("COHORT_URL", "http://", "look at host and port"),
        ("COHORT_OTLP_ENDPOINT", "localhost:4318", "must begin with http:// or https://"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=reason) as caught:
        Settings.load()
    assert name in str(caught.value)
    assert "sk-hidden" not in str(caught.value)


def test_what_other_programs_make_of_an_env_file_is_no_hindrance(tmp_path: Path) -> None:
    """A byte order mark, the line ends of Windows, comments, `export`, and names without a value."""
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfCOHORT_PORT=9001\r\n\r\n# a comment\r\nexport A='b c'\r\nALONE\r\n")
    assert Settings.load().port == 9001
    assert provider_environment() == {"A": "b c"}


def test_a_virtual_environment_called_env_is_no_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert Settings.load().port == 8080


def test_unset_urls_mean_the_embedded_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORT_SECRET_KEY", SECRET)
    monkeypatch.setenv("COHORT_PORT", "9000")
    where = Settings.load().resolved()
    home = tmp_path / ".cohort"
    assert where.url == "http://127.0.0.1:9000"
    assert where.temporal_address == "127.0.0.1:7233"
    assert where.database_url == f"sqlite+aiosqlite:///{home}/cohort.db"
    assert where.redis_url.startswith("unix://")
    assert where.secret == bytes(range(32))
    assert SECRET not in repr(where)


def test_settings_of_your_own_servers_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORT_SECRET_KEY", SECRET)
    monkeypatch.setenv("COHORT_DATABASE_URL", "postgresql+asyncpg://u:p@host/db")
    monkeypatch.setenv("COHORT_REDIS_URL", "redis://:p@host/1")
    monkeypatch.setenv("COHORT_TEMPORAL_ADDRESS", "temporal.example.org:7233")
    monkeypatch.setenv("COHORT_HOST", "0.0.0.0")
    where = Settings.load().resolved()
    assert where.database_url == "postgresql+asyncpg://u:p@host/db"
    assert where.redis_url == "redis://:p@host/1"
    assert where.temporal_address == "temporal.example.org:7233"
    assert where.url == "http://127.0.0.1:8080"


def test_without_a_secret_it_is_said_how_to_get_one() -> None:
    with pytest.raises(BadSettings, match="run `cohort up` once, or set COHORT_SECRET_KEY"):
        Settings.load().resolved()


def test_a_long_home_gets_a_short_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COHORT_HOME", str(tmp_path / ("long" * 40)))
    socket = Settings.load().state_folder().redis_socket
    assert len(str(socket)) < 100


def test_provider_keys_in_the_env_file_reach_the_worker(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-1\nCOHORT_MODEL=openai/gpt-4o-mini\n")
    assert provider_environment() == {"OPENAI_API_KEY": "sk-1"}
    assert not Settings.load().wants_local_llm()


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
