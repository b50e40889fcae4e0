"""Lints openapi.yaml, makes a client by each generator, compiles it, and lets it use a daemon with real VMs: run.py TOOLS OAPI_RUNTIME."""

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "api"))

from daemon import Daemon  # noqa: E402

PORT = 18091
DOCUMENT = HERE.parents[1] / "openapi.yaml"
TOOLS = Path(sys.argv[1])
RUNTIME = sys.argv[2]
PYTHON = str(TOOLS / "python" / "bin" / "python")
NODE = [str(TOOLS / "python" / "bin" / "node")]
NPM = TOOLS / "npm" / "node_modules"
BIN = NPM / ".bin"
STEP_S = 600


class Failed(Exception):
    pass


def run(*argv, cwd=None):
    env = dict(os.environ, NODE_PATH=str(NPM), PYTHONPATH=str(cwd or ""))
    result = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=STEP_S)
    if result.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))[:300]}\n{result.stdout[-6000:]}")
    return result.stdout


def fresh(name):
    path = TOOLS / "out" / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def openapi_generator(language, out):
    jar = glob.glob(str(TOOLS / "python/lib/python3*/site-packages/openapi_generator_cli/*.jar"))[0]
    return run("java", "-jar", jar, "generate", "-i", DOCUMENT, "-g", language, "-o", out)


def spectral():
    return None, run(*NODE, BIN / "spectral", "lint", "--fail-severity", "hint", "--ruleset", HERE / "spectral.yaml", DOCUMENT)


def redocly():
    text = run(*NODE, BIN / "redocly", "lint", DOCUMENT, "--config", HERE / "redocly.yaml")
    if "warning" in text.lower().replace("deprecation warning", ""):
        raise Failed(text)
    return None, text


def python_openapi_generator():
    out = fresh("openapi_generator_python")
    openapi_generator("python", out)
    run(PYTHON, "-m", "compileall", "-q", out / "openapi_client")
    return [PYTHON, HERE / "clients" / "openapi_generator.py"], out


def python_openapi_client():
    out = fresh("openapi_python_client")
    text = run(TOOLS / "python/bin/openapi-python-client", "generate", "--path", DOCUMENT, "--output-path", out / "client", "--meta", "none")
    if "Endpoint will not be generated" in text and "write_console" not in str(list(out.rglob("write_console.py"))):
        raise Failed(text)
    return [PYTHON, HERE / "clients" / "openapi_python_client.py"], out


def go_module(out, package):
    """One module: the client of its package, and the program that uses it."""
    (out / "go.mod").write_text("module sdk\n\ngo 1.26.0\n")
    if package == "smartvm":
        run("go", "get", RUNTIME, cwd=out)
    run("go", "mod", "tidy", cwd=out)
    run("go", "vet", "./...", cwd=out)
    run("go", "build", "-o", "use", ".", cwd=out)
    return [out / "use"], out


def go_oapi_codegen():
    out = fresh("oapi_codegen")
    (out / "smartvm").mkdir()
    run(TOOLS / "bin/oapi-codegen", "-generate", "types,client", "-package", "smartvm", "-o", out / "smartvm/smartvm.go", DOCUMENT)
    shutil.copy(HERE / "clients/oapi_codegen.go", out / "main.go")
    return go_module(out, "smartvm")


def go_openapi_generator():
    out = fresh("openapi_generator_go")
    openapi_generator("go", out / "openapi")
    shutil.rmtree(out / "openapi/test")
    for name in ("go.mod", "go.sum"):
        (out / "openapi" / name).unlink()
    shutil.copy(HERE / "clients/openapi_generator.go", out / "main.go")
    return go_module(out, "openapi")


def java_openapi_generator():
    out = fresh("openapi_generator_java")
    openapi_generator("java", out)
    libraries = TOOLS / "java"
    if not libraries.is_dir():
        run("mvn", "-q", "-B", f"-Dmaven.repo.local={TOOLS}/m2", "dependency:copy-dependencies", "-DincludeScope=compile",
            f"-DoutputDirectory={libraries}.new", cwd=out)
        Path(f"{libraries}.new").rename(libraries)
    (out / "sources").write_text("\n".join(map(str, (out / "src/main/java").rglob("*.java"))))
    classes = f"{out}/classes:{libraries}/*"
    run("javac", "-nowarn", "-d", out / "classes", "-cp", classes, f"@{out}/sources", HERE / "clients/OpenapiGenerator.java")
    return ["java", "-cp", classes, "OpenapiGenerator"], out


def typescript():
    out = fresh("typescript")
    (out / "node_modules").symlink_to(NPM)
    (out / "package.json").write_text('{"type": "module"}')
    for name in ("openapi_fetch.ts", "hey_api.ts", "tsconfig.json"):
        shutil.copy(HERE / "clients" / name, out)
    run(*NODE, BIN / "openapi-typescript", DOCUMENT, "--default-non-nullable=false", "-o", out / "schema.d.ts")
    settings = {"input": str(DOCUMENT), "output": {"path": "hey", "module": {"extension": ".js"}}}  # Node wants the extension
    (out / "openapi-ts.config.mjs").write_text(f"export default {json.dumps(settings)};")
    run(*NODE, BIN / "openapi-ts", cwd=out)
    run(*NODE, BIN / "tsc", "-p", ".", cwd=out)
    return [*NODE, out / "js/openapi_fetch.js"], out


def typescript_hey_api():
    """Made and compiled with the other one."""
    out = TOOLS / "out/typescript"
    return [*NODE, out / "js/hey_api.js"], out


LINTERS = [spectral, redocly]
CLIENTS = [go_oapi_codegen, java_openapi_generator, typescript, go_openapi_generator, python_openapi_generator, python_openapi_client]


def attempt(make):
    began = time.monotonic()
    try:
        command, out = make()
        return make.__name__, command, out, None, time.monotonic() - began
    except (Failed, subprocess.TimeoutExpired, OSError) as e:
        return make.__name__, None, None, str(e), time.monotonic() - began


def use(daemon, name, command, out):
    """The client's fault, or None. It must leave nothing behind, too."""
    try:
        run(*daemon.netns.wrap(*command, f"http://127.0.0.1:{PORT}", name.replace("_", "-")), cwd=out)
        return None if daemon.client.items("/vms") == [] else "a VM is left"
    except (Failed, subprocess.TimeoutExpired) as e:
        return str(e)
    finally:
        daemon.client.delete(f"/vms/{name.replace('_', '-')}", wait=10)


def main():
    (TOOLS / "out").mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(attempt, LINTERS + CLIENTS))
    made += [attempt(typescript_hey_api)]
    passed = failed = 0
    daemon = Daemon()
    daemon.config["listen"] = [str(daemon.socket), f"127.0.0.1:{PORT}"]
    try:
        daemon.start()
        daemon.add_tiny()
        for name, command, out, fault, seconds in made:
            began = time.monotonic()
            if fault is None and command is not None:
                fault = use(daemon, name, command, out)
            print(f"{'FAILED' if fault else 'ok'} {name}: made in {seconds:.0f} s, used in {time.monotonic() - began:.0f} s")
            if fault:
                print(fault)
            failed, passed = failed + (fault is not None), passed + (fault is None)
        daemon.await_no_leaks()
    finally:
        daemon.close()  # fails when a sanitizer had something to say
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
