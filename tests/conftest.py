"""What all tests share: the library's own pytest plugin, and one deterministic profile for
property tests."""

import importlib

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")

# They need PyTorch, which the tests do not; only what they wrote is read.
collect_ignore = ["oracle"]


def pytest_configure(config):
    # An installed tapegrad has registered itself; a source tree on the path has not.
    plugin = importlib.import_module("tapegrad.pytest_plugin")
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin)
