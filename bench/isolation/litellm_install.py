"""Installs the LiteLLM proxy once, in a folder of its own: its packages, and the engine of its database client."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-bench" / "litellm"
REQUIREMENTS = ROOT / "requirements" / "litellm-proxy.txt"
ENGINE = Path(__file__).parent / "engine"


@dataclass(frozen=True)
class Installed:
    """Where the proxy is: `bin` of its virtual environment, and the executable that is its query engine."""

    bin: Path
    engine: Path
    migrations: Path
    version: str


def install() -> Installed:
    """Install what is missing; a minute or two the first time, nothing afterwards."""
    stamp, wanted = FOLDER / "installed", _digest()
    packages = FOLDER / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    extras = packages / "litellm_proxy_extras"
    engine = FOLDER / "engine" / "query-engine"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(FOLDER))
        _run(str(FOLDER / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS))
        _install_engine(engine, extras / "schema.prisma")
        stamp.write_text(wanted)
    version = re.search(r"^litellm==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert version is not None
    return Installed(FOLDER / "bin", engine, extras / "migrations", version[1])


def environment(engine: Path) -> dict[str, str]:
    """Enough for the proxy and for Prisma, and nothing of the caller's: neither keys nor a home with settings."""
    home = FOLDER / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "TZ") if name in os.environ}
    return {
        **kept,
        "PATH": f"{FOLDER / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        # named, so that Prisma does not look for its native ones; only the first is ever started
        "PRISMA_QUERY_ENGINE_BINARY": str(engine),
        "PRISMA_QUERY_ENGINE_LIBRARY": str(engine),
        "PRISMA_SCHEMA_ENGINE_BINARY": str(engine),
        "CHECKPOINT_DISABLE": "1",
    }


def _install_engine(engine: Path, schema: Path) -> None:
    """Put Prisma's packages beside the engine, and make the database client from LiteLLM's schema."""
    folder = engine.parent
    shutil.copytree(ENGINE, folder)
    node = FOLDER / "bin" / "node"
    engine.write_text(f'#!/bin/sh\nexec "{node}" "{folder / "query-engine.mjs"}" "$@"\n')
    engine.chmod(0o755)
    # Prisma's install scripts would download the native engines
    npm = str(FOLDER / "bin" / "npm")
    _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder, env=_with_npm_settings())
    # with other targets named, Prisma would download their engines too
    own = re.sub(r"binaryTargets\s*=.*", 'binaryTargets = ["native"]', schema.read_text())
    (folder / "schema.prisma").write_text(own)
    prisma = str(folder / "node_modules" / "prisma" / "build" / "index.js")
    nowhere = {**environment(engine), "DATABASE_URL": "postgresql://127.0.0.1/nowhere"}
    _run(str(node), prisma, "generate", "--schema", "schema.prisma", cwd=folder, env=nowhere)


def _with_npm_settings() -> dict[str, str]:
    return {**os.environ, "PATH": f"{FOLDER / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3_000:]}")


def _digest() -> str:
    """Of everything that is installed, and of the interpreter it is installed for."""
    parts = [REQUIREMENTS.read_bytes(), sys.version.encode()]
    parts += [path.read_bytes() for path in sorted(ENGINE.iterdir()) if path.is_file()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
