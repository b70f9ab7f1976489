"""Plays a client: copies a solution into the workspace and prints what that client prints. Its name says which it is.

The value of its key is a JSON file that says what to do: ``log`` (a file that gets a line for each start), ``case``
(the folder of the case), and for each arm the solution to copy and how else to behave (``reads``, ``leaves``,
``fails``, ``ignores``, ``hangs``). It reads the skills of its home unless ``ignores`` has a word of the prompt.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

KEYS = {
    "claude": "ANTHROPIC_API_KEY",
    "codex": "CODEX_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "opencode": "OPENROUTER_API_KEY",
}
SKILLS = {
    "claude": ".claude/skills",
    "codex": ".codex/skills",
    "gemini": ".gemini/skills",
    "opencode": ".config/opencode/skills",
}


def claude(reads):
    yield {"type": "system", "subtype": "init", "skills": [path.parent.name for path in reads]}
    for path in reads:
        call = {"type": "tool_use", "id": "1", "name": "Skill", "input": {"skill": path.parent.name}}
        yield {"type": "assistant", "message": {"content": [call]}}
        result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": path.read_text()}]}
        yield {"type": "user", "message": {"content": [result]}}
    usage = {
        "input_tokens": 70,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 800,
        "output_tokens": 100,
    }
    yield {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "duration_ms": 5,
        "result": "Done.",
        "total_cost_usd": 0.25,
        "usage": usage,
    }


def codex(reads):
    yield {"type": "thread.started", "thread_id": "1"}
    for path in reads:
        item = {"id": "item_0", "type": "command_execution", "command": f"cat {path}", "exit_code": 0}
        yield {"type": "item.completed", "item": item | {"aggregated_output": path.read_text()}}
    yield {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "Done."}}
    usage = {"input_tokens": 900, "cached_input_tokens": 800, "output_tokens": 100, "reasoning_output_tokens": 40}
    yield {"type": "turn.completed", "usage": usage}


def gemini(reads):
    yield {"type": "init", "session_id": "1", "model": "standin"}
    for path in reads:
        yield {
            "type": "tool_use",
            "tool_name": "activate_skill",
            "tool_id": "1",
            "parameters": {"name": path.parent.name},
        }
        yield {"type": "tool_result", "tool_id": "1", "status": "success", "output": path.read_text()}
    stats = {
        "total_tokens": 1000,
        "input_tokens": 900,
        "output_tokens": 60,
        "cached": 800,
        "input": 100,
        "tool_calls": 1,
    }
    yield {"type": "result", "status": "success", "stats": stats | {"duration_ms": 5}}


def opencode(reads):
    for path in reads:
        state = {"status": "completed", "input": {"name": path.parent.name}, "output": path.read_text()}
        yield {"type": "tool_use", "sessionID": "1", "part": {"type": "tool", "tool": "skill", "state": state}}
    for read, cached in ((60, 300), (40, 500)):
        tokens = {"input": read - 10, "output": 30, "reasoning": 20, "cache": {"read": cached, "write": 10}}
        yield {
            "type": "step_finish",
            "sessionID": "1",
            "part": {"type": "step-finish", "tokens": tokens, "cost": 0.125},
        }


def main():
    name = Path(sys.argv[0]).name
    if "--version" in sys.argv:
        print(f"{name} 0.0 (stand-in)")
        return 0
    script = json.loads(Path(os.environ[KEYS[name]]).read_text())
    skills = sorted((Path.home() / SKILLS[name]).glob("*/SKILL.md"))
    arm = {"": "without_skill", "this-skill": "with_skill"}.get("".join(p.parent.name for p in skills), "other_skill")
    todo = script.get(arm, {})
    with open(script["log"], "a") as log:
        seen = {"arm": arm, "argv": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd()}
        log.write(json.dumps(seen | {"home": sorted(str(p) for p in Path.home().rglob("*") if p.is_file())}) + "\n")
    started = sum(json.loads(line)["arm"] == arm for line in Path(script["log"]).read_text().splitlines())
    if started <= todo.get("fails", 0):
        print("rate limit: try again later", file=sys.stderr)
        return 1
    if todo.get("hangs"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(todo["hangs"]).write_text(str(child.pid))
        time.sleep(600)
    if "solution" in todo:
        shutil.copytree(Path(script["case"], "solutions", todo["solution"]), Path.cwd(), dirs_exist_ok=True)
    if "leaves" in todo:
        shutil.copy(todo["leaves"], Path.cwd() / "NOTES.md")
    if any(word in " ".join(sys.argv) for word in todo.get("ignores", [])):
        skills = []
    print("a line that is no JSON")
    for event in globals()[name]([*skills, *map(Path, todo.get("reads", []))]):
        print(json.dumps(event), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
