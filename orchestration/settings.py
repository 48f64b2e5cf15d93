"""Every setting: type, default, unit, range and meaning, and the one way to read them.

A setting ``shards`` is the key ``orchestration_shards`` of the Celery configuration and the environment variable
``ORCHESTRATION_SHARDS``. The order is: default, Celery configuration, environment, argument. A key that starts like
ours and is none of ours, or a value out of range, is a :class:`~orchestration.errors.ConfigError` at start.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from orchestration.celery_redis import STORE_SCHEMES, redis_of_celery
from orchestration.errors import ConfigError
from orchestration.types import Limits

__all__ = ["CONF_PREFIX", "ENV_PREFIX", "SettingInfo", "Settings", "check_stage", "parse_duration_ms"]

CONF_PREFIX: Final = "orchestration_"
ENV_PREFIX: Final = "ORCHESTRATION_"

_SECOND: Final = 1000
_DAY: Final = 24 * 60 * 60 * _SECOND
_MIB: Final = 1024 * 1024

# Variables with our prefix that are no settings: the binary of the embedded server; the application of the command
# line; what tests and demonstrations hand to worker processes; what Kubernetes sets for a service that is called
# "orchestration".
_FOREIGN_VARIABLE: Final = re.compile(
    r"ORCHESTRATION_(REDIS_SERVER|APP|FAULT.*|TEST_.*|EXAMPLES_.*|DEMO_.*|SERVICE_(HOST|PORT.*)|PORT(_\d+_.*)?)"
)


def _setting(default: Any, unit: str, meaning: str, low: int | None = None, high: int | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"unit": unit, "meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """What the documentation says about one setting."""

    name: str
    kind: str
    default: str
    unit: str
    range: str
    meaning: str

    @property
    def key(self) -> str:
        """Key in the Celery configuration."""
        return CONF_PREFIX + self.name

    @property
    def variable(self) -> str:
        """Environment variable."""
        return ENV_PREFIX + self.name.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. See :meth:`describe` for unit, range and meaning of each.

    Durations may be given as a whole number in the setting's unit, a ``timedelta``, or text such as ``"10s"``,
    ``"1h30m"``, ``"7d"``; sizes as a whole number of bytes or text such as ``"64 MiB"``.
    """

    redis_url: str = _setting(
        "", "URL",
        "Redis that keeps the runs: `redis://`, `rediss://`, `unix://`, `sentinel://`, `redis+cluster://`, see "
        "docs/how-to/brokers.md. Empty: REDIS_URL, else the result backend or the broker if it is Redis.",
    )
    config: tuple[str, ...] = _setting(
        ("config",), "paths", "Trees of YAML definitions, separated by the system's path separator (`:`)."
    )
    namespace: str = _setting("default", "name", "Separates runs of different applications in one Redis.")
    key_prefix: str = _setting("orc", "name", "First part of every key in Redis.")
    shards: int = _setting(
        8, "count", "Hash slots the runs are spread over; written to the store at first use and fixed from then on.",
        1, 256,
    )  # fmt: skip
    default_queue: str | None = _setting(
        None, "name", "Queue of workflows whose entry names no worker. None: Celery's `task_default_queue`."
    )
    state_after_ms: int = _setting(
        2 * _SECOND, "ms",
        "Time within which the Celery task of an open workflow gets the state `WAITING`, which says where it stands; "
        "it is written at most this often. 0: never, the state is `PENDING` until the end.",
        0, 3600 * _SECOND,
    )  # fmt: skip
    retention_ms: int = _setting(
        7 * _DAY, "ms", "How long a finished run, its history and its result are kept.", 1 * _SECOND
    )
    archive: str = _setting(
        "", "folder or URL",
        "Where the histories of ended runs are written before the retention deletes them: a folder, or any URL of "
        "fsspec (extra `archive`), such as `s3://bucket/runs`. Empty: nowhere.",
    )  # fmt: skip
    offload: str = _setting(
        "", "folder or URL",
        "Where values go that are too large for the Redis of the runs: a folder (whole path, or `file:///...`) that "
        "every worker and client reaches, or the URL of a Redis (`redis://`, `rediss://`, `unix://`), better another "
        "one. See docs/how-to/large-payloads.md. Empty: nowhere.",
    )  # fmt: skip
    offload_above_bytes: int = _setting(
        256 * 1024, "bytes",
        "With `orchestration_offload`: events, inputs and open activities above this size go there whole.",
        1024, 256 * _MIB,
    )  # fmt: skip
    offload_limit_bytes: int = _setting(
        16 * _MIB, "bytes",
        "With `orchestration_offload`: the largest single value, instead of `orchestration_payload_bytes` if that is "
        "less.",
        1024, 256 * _MIB,
    )  # fmt: skip
    lease_ms: int = _setting(
        3 * _SECOND, "ms", "How long a worker may advance a run without renewing its claim on it.", 200, 600 * _SECOND
    )
    heartbeat_ms: int = _setting(
        1 * _SECOND, "ms", "How often a worker says that it lives.", 50, 60 * _SECOND
    )
    dead_after_ms: int = _setting(
        10 * _SECOND, "ms",
        "Silence after which a worker counts as dead and what it claimed is given to others. At least 3 heartbeats.",
        500, 3600 * _SECOND,
    )  # fmt: skip
    hosts: str = _setting(
        "*", "entry ids",
        "Process hosts that a worker serves, with commas between them; `*`: all of its definitions, `none`: none. The "
        "worker's option `--hosts` goes over it.",
    )  # fmt: skip
    host_app: str = _setting(
        "", "module:name",
        "Where the Celery application stands, for the process that serves the process hosts of a worker with another "
        "pool than threads; empty: it is looked for.",
    )  # fmt: skip
    processes_max: int = _setting(
        20_000, "count",
        "Most processes and function calls that live in one OS process of a worker at a time; above it, starts and "
        "calls are refused with an error of kind `RateLimited`.",
        10, 10_000_000,
    )  # fmt: skip
    node_dead_after_ms: int = _setting(
        5 * _SECOND, "ms",
        "Silence after which a worker's processes count as lost: who watches them is told, their names are free, "
        "services start elsewhere. The worker itself stops running them a little earlier. At least 3 heartbeats.",
        500, 600 * _SECOND,
    )  # fmt: skip
    sweep_interval_ms: int = _setting(
        1 * _SECOND, "ms", "How often one of the workers looks for runs, messages and timers that nobody moves.",
        50, 600 * _SECOND,
    )  # fmt: skip
    sweep_batch: int = _setting(200, "count", "Most items of one sort that one sweep of one shard handles.", 1, 10_000)
    outbox_grace_ms: int = _setting(
        2 * _SECOND, "ms", "Age from which an outgoing message that is still there is sent by the sweep.",
        50, 600 * _SECOND,
    )  # fmt: skip
    resume_grace_ms: int = _setting(
        2 * _SECOND, "ms", "How long a run with unread input may wait for its message before the sweep sends another.",
        50, 600 * _SECOND,
    )  # fmt: skip
    timer_horizon_ms: int = _setting(
        10 * _SECOND, "ms", "A timer due within this time is handed to Celery with its ETA.", 0, 600 * _SECOND
    )
    eta_tasks_max: int = _setting(
        1000, "count", "Most timers handed to Celery at a time; the timer thread fires the others itself.", 0, 100_000
    )
    cache_runs: int = _setting(
        1000, "count", "Most runs whose Lua machine one worker process keeps; with 0 every step replays the history.",
        0, 1_000_000,
    )  # fmt: skip
    cache_bytes: int = _setting(256 * _MIB, "bytes", "Most memory that those machines may take together.", 0)
    memory_bytes: int = _setting(
        64 * _MIB, "bytes", "Most memory of one run's Lua machine.", 1 * _MIB, 4096 * _MIB
    )
    instructions: int = _setting(
        200_000_000, "count", "Most Lua instructions, library work included, that one input may cost.", 100_000
    )
    watchdog_ms: int = _setting(
        60 * _SECOND, "ms", "Time in one call into Lua after which the process is held to be stuck and ended.",
        1 * _SECOND, 3600 * _SECOND,
    )  # fmt: skip
    payload_bytes: int = _setting(
        2 * _MIB, "bytes", "Largest single value: arguments, results, signals.", 1024, 256 * _MIB
    )
    history_limit: int = _setting(
        50_000, "events", "Longest history; a run that would exceed it is parked.",
        100, 10_000_000,
    )  # fmt: skip
    history_bytes: int = _setting(
        50 * _MIB, "bytes", "Largest history; a run that would exceed it is parked.", 64 * 1024,
    )
    inbox_limit: int = _setting(
        10_000, "count", "Most inputs of a run that it has not read; above it, signals are refused.", 10, 1_000_000,
    )
    start_to_close_ms: int = _setting(
        10 * 60 * _SECOND, "ms", "Time one attempt of an activity may take when its options do not say.", 1
    )
    local_activity_budget_ms: int = _setting(
        1 * _SECOND, "ms",
        "How long a step waits for its local activities; at most half of `orchestration_lease_ms`. What takes longer "
        "becomes an ordinary activity. 0: all are ordinary ones.",
        0, 600 * _SECOND,
    )  # fmt: skip
    consumers: str = _setting(
        "auto", "ids",
        "Queue consumers that a worker serves: `auto` (those with `lifecycle.auto_start`), `none`, or ids separated by "
        "commas, in which `*` stands for anything.",
    )  # fmt: skip
    http_allow: str = _setting(
        "public", "hosts",
        "Where the module `http_client` may connect to: `public` (addresses of the Internet; not those of the worker, "
        "of its networks and of a cloud's metadata), `any`, names such as `*.example.internal` and networks such as "
        "`10.1.0.0/16`, separated by commas. Empty: nowhere.",
    )  # fmt: skip
    connect_timeout_ms: int = _setting(
        5 * _SECOND, "ms", "How long to wait for a connection to Redis, and for its answer.", 100, 600 * _SECOND
    )
    start_timeout_ms: int = _setting(
        30 * _SECOND, "ms", "How long a starting worker or client tries to reach Redis before it gives up.",
        0, 3600 * _SECOND,
    )  # fmt: skip
    tracing: bool = _setting(
        False, "yes or no",
        "Make spans with the OpenTelemetry provider of the application (extra `otel`): one trace a run. See "
        "docs/how-to/observe.md.",
    )  # fmt: skip
    metrics: bool = _setting(
        False, "yes or no",
        "Count in the default registry of `prometheus_client` (extra `metrics`), for whoever serves that.",
    )  # fmt: skip
    metrics_port: int = _setting(
        0, "port",
        "Serve the metrics of this worker, its pool's processes included, over HTTP there, and count them. 0: no.",
        0, 65_535,
    )  # fmt: skip
    metrics_address: str = _setting(
        "0.0.0.0", "address", "Address of this machine that `orchestration_metrics_port` is opened on."  # noqa: S104
    )  # fmt: skip
    strict_security: bool = _setting(
        False, "yes or no",
        "Refuse what needs a permission to code that has no actor or no scope; else only policies refuse. See "
        "docs/reference/security.md.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Check ranges, and what settings say about each other."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            key = CONF_PREFIX + field.name
            low, high = field.metadata["low"], field.metadata["high"]
            if isinstance(value, int) and ((low is not None and value < low) or (high is not None and value > high)):
                raise ConfigError(f"{key} = {value}: must be {_range_text(low, high)} {field.metadata['unit']}")
        for name in ("namespace", "key_prefix"):
            value = getattr(self, name)
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", value):
                raise ConfigError(
                    f"{CONF_PREFIX}{name} = {value!r}: must be 1 to 63 letters, digits, '_', '.' or '-', "
                    "a letter or digit first"
                )
        if self.dead_after_ms < 3 * self.heartbeat_ms:
            raise ConfigError(
                f"{CONF_PREFIX}dead_after_ms = {self.dead_after_ms}: must be at least three times "
                f"{CONF_PREFIX}heartbeat_ms ({self.heartbeat_ms}), or workers that live are taken for dead"
            )

        if self.node_dead_after_ms < 3 * self.heartbeat_ms:
            raise ConfigError(
                f"{CONF_PREFIX}node_dead_after_ms = {self.node_dead_after_ms}: must be at least three times "
                f"{CONF_PREFIX}heartbeat_ms ({self.heartbeat_ms}), or workers that live are taken for dead"
            )
        check_stage(f"{CONF_PREFIX}offload", self.offload)

    @property
    def value_limit_bytes(self) -> int:
        """The largest single value of a run: arguments, results, signals."""
        return max(self.payload_bytes, self.offload_limit_bytes) if self.offload else self.payload_bytes

    @property
    def limits(self) -> Limits:
        """What one Lua machine may use."""
        return Limits(
            memory_bytes=self.memory_bytes, instructions=self.instructions, payload_bytes=self.value_limit_bytes
        )

    @classmethod
    def from_celery(cls, conf: Mapping[str, Any], env: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """Read the settings of an application.

        Args:
            conf: The configuration of the Celery application; only its ``orchestration_*`` keys are read, and
                ``result_backend`` and ``broker_url`` when nothing names a Redis.
            env: Environment variables; None: the process's own.
            **arguments: Settings given in code; they win, except for ``config``, where the environment does (an
                operator may point an application at other definitions). None stands for 'not given'.

        Raises:
            ConfigError: An unknown key, a wrong type or a value out of range; every problem is in the message.
        """
        env = os.environ if env is None else env
        names = [field.name for field in dataclasses.fields(cls)]
        given: dict[str, tuple[str, Any]] = {}
        problems: list[str] = []
        config = {"config": arguments.pop("config", None)}
        sources = [
            *_conf_settings(conf), *_argument_settings(config), *_env_settings(env), *_argument_settings(arguments)
        ]  # fmt: skip
        for key, name, value in sources:
            if name in names:
                given[name] = (key, value)
            else:
                problems.append(_unknown(key, name, names))
        values: dict[str, Any] = {}
        for name, (key, value) in given.items():
            try:
                values[name] = _convert(name, value)
            except ValueError as error:
                shown = repr(value) if name not in _SECRET else "(not shown)"
                problems.append(f"{key} = {shown}: {error}")
        if problems:
            raise ConfigError("; ".join(problems))
        if not values.get("redis_url"):
            values["redis_url"] = redis_of_celery(conf, env)
        return cls(**values)

    @classmethod
    def describe(cls) -> list[SettingInfo]:
        """Name, type, default, unit, range and meaning of each setting, in order."""
        return [
            SettingInfo(
                name=field.name,
                kind=_kind(field.name),
                default=_default_text(field.default),
                unit=field.metadata["unit"],
                range=_range_text(field.metadata["low"], field.metadata["high"]),
                meaning=field.metadata["meaning"],
            )
            for field in dataclasses.fields(cls)
        ]


_TEXT: Final = frozenset({
    "redis_url", "namespace", "key_prefix", "default_queue", "archive", "offload", "hosts", "host_app", "consumers",
    "http_allow", "metrics_address",
})  # fmt: skip
_SWITCHES: Final = frozenset({"metrics", "strict_security", "tracing"})
_SECRET: Final = frozenset({"redis_url", "offload"})


def check_stage(key: str, where: str) -> None:
    """Refuse what cannot be a place for large values.

    Raises:
        ConfigError: It is a URL of another kind, or one that names no folder; the message does not show it.
    """
    scheme, found, rest = where.partition("://")
    if not where or (found and scheme in STORE_SCHEMES):
        return
    if not found and not os.path.isabs(where):
        raise ConfigError(
            f"{key} = {where!r}: must be a whole path, such as /srv/values: workers and clients run in folders of "
            "their own"
        )
    if found and scheme != "file":
        raise ConfigError(
            f"{key} is a {scheme}:// URL: it must be a folder, file:///..., or the URL of a Redis "
            "(redis://, rediss://, unix://)"
        )
    if found and not rest.startswith("/"):
        raise ConfigError(f"{key} is a file:// URL that names no folder of this machine: write file:///the/folder")


def _kind(name: str) -> str:
    if name == "config":
        return "list of paths"
    if name in _TEXT:
        return "text"
    if name in _SWITCHES:
        return "boolean"
    return "duration" if name.endswith("_ms") else "size" if name.endswith("_bytes") else "whole number"


def _conf_settings(conf: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Keys of ours in a Celery configuration, old style (upper case) and with Django's ``CELERY_`` included."""
    for key in conf:
        name = str(key).lower().removeprefix("celery_")
        if name.startswith(CONF_PREFIX):
            yield str(key), name.removeprefix(CONF_PREFIX), conf[key]


def _env_settings(env: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for variable, value in env.items():
        if variable.startswith(ENV_PREFIX) and not _FOREIGN_VARIABLE.fullmatch(variable):
            yield variable, variable.removeprefix(ENV_PREFIX).lower(), value


def _argument_settings(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, value in arguments.items():
        if value is not None:
            yield name, name, value


def _unknown(key: str, name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    if not close:
        return f"unknown setting {key}"
    prefix = key[: len(key) - len(name)]
    return f"unknown setting {key}: did you mean {prefix}{close[0].upper() if key.isupper() else close[0]}?"


def _convert(name: str, value: Any) -> Any:
    kind = _kind(name)
    if kind == "text":
        if name == "default_queue" and value in (None, ""):
            return None
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {type(value).__name__}")
        return value
    if kind == "list of paths":
        return _paths(value)
    if kind == "boolean":
        return _switch(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
        return int(value)
    if isinstance(value, bool):
        raise ValueError(f"must be a {kind}")
    if isinstance(value, int):
        return value
    if kind == "duration":
        return _duration_ms(value)
    if kind == "size":
        return _size_bytes(value)
    raise ValueError("must be a whole number")


def _switch(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word is True or word in ("1", "true", "yes", "on"):
        return True
    if word is False or word in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(os.pathsep)
    elif isinstance(value, os.PathLike):
        value = [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        parts = list(value)
        if all(isinstance(part, str | os.PathLike) for part in parts):
            return tuple(str(part) for part in parts if str(part))
    raise ValueError("must be a path or a list of paths")


_DURATION_UNITS: Final = {"ms": 1, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND, "d": _DAY, "w": 7 * _DAY}
_SIZE_UNITS: Final = {"b": 1, "kib": 1024, "mib": _MIB, "gib": 1024 * _MIB, "kb": 1000, "mb": 10**6, "gb": 10**9}


def parse_duration_ms(value: Any) -> int:
    """A duration in whole milliseconds: such a number already, a ``timedelta``, or text such as ``"1h30m"``.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _duration_ms(value)


def _duration_ms(value: Any) -> int:
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    if isinstance(value, str):
        text = value.replace(" ", "").lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return round(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))
    raise ValueError("must be milliseconds as a whole number, a timedelta, or text such as '500ms', '1h30m', '7d'")


def _size_bytes(value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b)", value.strip().lower())
        if match and match[2] in _SIZE_UNITS:
            return round(float(match[1]) * _SIZE_UNITS[match[2]])
    raise ValueError("must be bytes as a whole number, or text such as '512 KiB', '64 MiB'")


def _range_text(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    return f"{low:,} or more" if high is None else f"{low or 0:,} to {high:,}"


def _default_text(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return ":".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value) or "(empty)"
