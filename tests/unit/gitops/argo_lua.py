"""Argo CD's Lua, as its documentation and its manual for resource customizations describe it.

Lua 5.1 with the base and table libraries alone; `require("os")` gives `time` and `date`. A script sees the object as
the global `obj`. What comes back is JSON again, in which an empty table is a list: where the object had an empty or
filled map, Argo CD makes it a map again.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, cast

import yaml
from lupa import lua51
from pydantic import JsonValue

from edgecanary.api import GROUP
from edgecanary.api.fields import JsonObject
from edgelab.generate import argocd

HEALTH = frozenset({"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"})
_PREFIX = "resource.customizations"

_CLOSE = """
local date, time, debug = os.date, os.time, debug
local function clock() return __now or time() end
local safe = {
  time = function() return clock() end,
  date = function(format) return date(format, clock()) end,
}
local kept = {
  "assert", "collectgarbage", "error", "getfenv", "getmetatable", "ipairs", "next", "pairs", "pcall", "print",
  "rawequal", "rawget", "rawset", "require", "select", "setfenv", "setmetatable", "table", "tonumber", "tostring",
  "type", "unpack", "xpcall", "_G", "_VERSION", "package", "loadstring", "__now",
}
local open = {}
for _, name in ipairs(kept) do open[name] = true end
for name in pairs(package.loaded) do
  if name ~= "_G" and name ~= "table" and name ~= "package" then package.loaded[name] = nil end
end
package.preload, package.path, package.cpath = {}, "", ""
package.loaders = { package.loaders[1] }
package.loaders[1] = function(name) return name == "os" and function() return safe end or "\\n\\tno " .. name end
debug.setmetatable("", nil)
for name in pairs(_G) do
  if not open[name] then _G[name] = nil end
end
"""


class _Lua(Protocol):
    """The part of a Lua state that is used here."""

    def execute(self, code: str) -> object: ...
    def globals(self) -> MutableMapping[str, object]: ...
    def table_from(self, items: Mapping[str, object] | Sequence[object]) -> object: ...


class ScriptError(Exception):
    """What Argo CD tells the person who ran the script."""


@dataclass(frozen=True)
class Health:
    """What Argo CD shows of an object."""

    status: str
    message: str


@dataclass(frozen=True)
class ArgoCD:
    """The settings of an Argo CD: the entries of its `argocd-cm`."""

    data: Mapping[str, str] = field(default_factory=argocd.settings)
    now: int | None = None
    """What its clock says, in seconds since 1970; None is the real one."""

    def health(self, obj: JsonObject) -> Health:
        """The health that the object's script returns."""
        found = self._run(self.data[f"{_PREFIX}.health.{GROUP}_{obj['kind']}"], obj)
        assert isinstance(found, dict), f"expect table output from Lua script, not {found!r}"
        assert found.keys() <= {"status", "message"}
        assert found["status"] in HEALTH, found
        return Health(str(found["status"]), str(found.get("message", "")))

    def actions(self, obj: JsonObject) -> dict[str, JsonObject]:
        """The actions that are offered, by name: `disabled` and `displayName`."""
        found = self._run(str(self._actions(obj)["discovery.lua"]), obj)
        assert isinstance(found, dict)
        return cast("dict[str, JsonObject]", found)

    def enabled(self, obj: JsonObject) -> set[str]:
        """The names of the actions that can be chosen."""
        return {name for name, action in self.actions(obj).items() if not action["disabled"]}

    def act(self, obj: JsonObject, action: str) -> JsonObject:
        """The merge patch that the action comes to. Raises ScriptError when it refuses."""
        definitions = cast("list[dict[str, str]]", self._actions(obj)["definitions"])
        (script,) = (entry["action.lua"] for entry in definitions if entry["name"] == action)
        found = self._run(script, obj)
        assert isinstance(found, dict)
        return merge_patch(obj, cast("JsonObject", _restored(found, obj)))

    def _actions(self, obj: JsonObject) -> dict[str, object]:
        return _parsed(self.data[f"{_PREFIX}.actions.{GROUP}_{obj['kind']}"])

    def _run(self, script: str, obj: JsonObject) -> JsonValue:
        lua: _Lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
        lua.globals()["__now"] = self.now
        lua.execute(_CLOSE)
        lua.globals()["obj"] = _to_lua(lua, obj)
        try:
            return _to_json(lua.execute(script))
        except lua51.LuaError as error:
            raise ScriptError(str(error)) from error


@cache
def _parsed(text: str) -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load(text))


def merge_patch(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> JsonObject:
    """The JSON merge patch (RFC 7386) that turns one object into the other."""
    patch: JsonObject = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _to_lua(lua: _Lua, value: JsonValue) -> object:
    if isinstance(value, dict):
        return lua.table_from({key: _to_lua(lua, item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, item) for item in value])
    return value


def _to_json(value: object) -> JsonValue:
    if lua51.lua_type(value) != "table":
        assert value is None or isinstance(value, str | int | float | bool), f"no JSON: {value!r}"
        return value
    table = cast("Mapping[object, object]", value)
    found = {key: _to_json(table[key]) for key in table}
    numbers = [key for key in found if isinstance(key, int)]
    if len(numbers) == len(found):
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"a list with gaps: {numbers}"
        return [found[key] for key in sorted(numbers)]
    assert not numbers, f"keys of two kinds: {list(found)}"
    return {str(key): item for key, item in found.items()}


def _restored(found: JsonValue, before: JsonValue) -> JsonValue:
    """Empty maps, which came back as empty lists, where the object had a map."""
    if isinstance(found, dict) and isinstance(before, dict):
        return {key: _restored(value, before.get(key)) for key, value in found.items()}
    if isinstance(found, list) and isinstance(before, list):
        rest = found[len(before) :]
        return [*(_restored(a, b) for a, b in zip(found, before, strict=False)), *rest]
    return {} if found == [] and isinstance(before, dict) else found
