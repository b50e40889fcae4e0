"""
Runs Schemathesis against a daemon of its own: every operation of openapi.yaml, with data that fits its schema and data that doesn't. It fails for an
answer that openapi.yaml does not declare (status, content type, headers, body), for a 5xx, for bad input that is taken and good input that is refused.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))

from daemon import Daemon  # noqa: E402

PORT = 18090
SEED = 20261124
# Endless by their nature; tests/api/test_events.py and test_console.py hold them against openapi.yaml.
STREAMS = ["streamEvents", "getConsole"]
# A text, of which Schemathesis makes the object that it tells of.
AS_TEXT = ["getOpenapiYaml"]
# A VM and an image that exist, so that requests come further than 404; DELETE makes up its own.
KNOWN = """
[[operations]]
include-path-regex = "^/vms/.id.($|/(start|kill|pause|resume|console|network|firewall))"
include-method = ["GET", "POST", "PATCH", "PUT"]
parameters = { "path.id" = "subject" }
# A wait for a guest that does not listen may rightly take minutes.
[[operations]]
include-path-regex = "^/vms/.id./(stop|reboot)$"
parameters = { "path.id" = "subject", "query.wait" = 1 }
[[operations]]
include-path-regex = "^/images/.id."
include-method = ["GET"]
parameters = { "path.id" = "tiny" }
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,negative_data_rejection,allow_header_conformance"


def is_documented(failure):
    """null for a field that may be left out is the same as leaving it out (docs/api.md), which a schema can't say."""
    return "ST201 Schema-violating request accepted" in failure and re.search(r"Invalid component: in body .*Incorrect type", failure) is not None and ": null" in failure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("schemathesis")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    daemon = Daemon({"vmm": {"stop_timeout_s": 1}})
    daemon.config["listen"] = [str(daemon.socket), f"127.0.0.1:{PORT}"]
    try:
        daemon.start()
        daemon.add_tiny()
        daemon.client.post("/vms", {"id": "subject", "image": "tiny", "vmm": "firecracker", "boot_args": "tiny=ctrlaltdel", "machine_config": {"mem_size_mib": 32},
                                    "network_interfaces": [{"iface_id": "eth0"}]}, wait=10)
        with tempfile.TemporaryDirectory(dir=daemon.base) as work:
            (Path(work) / "schemathesis.toml").write_text(KNOWN)
            command = [options.schemathesis, "run", f"http://127.0.0.1:{PORT}/openapi.json", "--seed", str(options.seed), "--checks", CHECKS,
                       "--max-examples", "1000" if options.long else "25", "--phases", "examples,coverage,fuzzing,stateful", "--request-timeout", "20",
                       "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"]
            for operation in STREAMS + AS_TEXT:
                command += ["--exclude-operation-id", operation]
            result = subprocess.run(daemon.netns.wrap(*command), capture_output=True, text=True, cwd=work)
        alive = daemon.is_running()
    finally:
        daemon.close()  # fails when a sanitizer had something to say
    passed = sum(int(n) for n in re.findall(r"✅\s+(\d+) passed", result.stdout))
    failed = sum(int(n) for n in re.findall(r"❌\s+(\d+) failed", result.stdout))
    failures = re.split(r"\n\d+\. Test Case ID", result.stdout)[1:]
    if failures and all(map(is_documented, failures)):
        passed, failed, result.returncode = passed + failed, 0, 0
    failed += 0 if alive else 1
    if failed == 0 and (result.returncode != 0 or passed == 0):
        failed = 1
    if failed:
        print(result.stdout[-20000:])
        print(result.stderr[-4000:])
        print(f"again: tests/schema/run.sh --seed {options.seed}" + (" --long" if options.long else ""))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
