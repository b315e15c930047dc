"""Discovery with good and bad plugins: each bad one is a row of its own, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from mml.errors import MMLError, PluginError, UnknownComponentError
from mml.plugins import PluginManager, PluginState

BAD_MODULES = {
    "misses": (
        "import a_module_that_is_not_there",
        PluginState.MISSING_DEPENDENCY,
        "a_module_that_is_not_there",
    ),
    "raises": ("raise ValueError('no good')", PluginState.BROKEN, "ValueError: no good"),
    "exits": ("import sys; sys.exit(3)", PluginState.BROKEN, "SystemExit: 3"),
    "syntax": ("def (:", PluginState.BROKEN, "SyntaxError"),
    "hookless": ("x = 1", PluginState.BROKEN, "no hook `mml_plugin`"),
    "unmarked": (
        "def mml_plugin(): return PluginInfo('unmarked', api_version=(1, 1))",
        PluginState.BROKEN,
        "hookimpl",
    ),
    "future": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('future', api_version=(98, 99))\n"
        "@hookimpl\ndef mml_of_the_future(hint): pass",
        PluginState.INCOMPATIBLE,
        "98 to 99",
    ),
    "misnamed": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('other', api_version=(1, 1))",
        PluginState.BROKEN,
        "different names",
    ),
    "nothing": ("@hookimpl\ndef mml_plugin(): return None", PluginState.BROKEN, "no PluginInfo"),
    "badrange": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('badrange', api_version=2)",
        PluginState.BROKEN,
        "no range of API versions",
    ),
    "hookraises": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('hookraises', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components():\n"
        "    yield Component('losses', 'hookraises', 'one', 'a:b')\n"
        "    raise RuntimeError('half way')",
        PluginState.BROKEN,
        "RuntimeError: half way",
    ),
    "unknownhook": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('unknownhook', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_componens(): return []",
        PluginState.BROKEN,
        "Did you mean 'mml_components'",
    ),
    "badsignature": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('badsignature', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components(surprise): return []",
        PluginState.BROKEN,
        "mml_components(surprise)",
    ),
    "badkind": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('badkind', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components(): return [Component('loses', 'badkind', 'x', 'a:b')]",
        PluginState.BROKEN,
        "'losses'",
    ),
    "badtarget": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('badtarget', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components(): return [Component('losses', 'badtarget', 'x', 'a.b')]",
        PluginState.BROKEN,
        "module:attribute",
    ),
    "notcomponents": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('notcomponents', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components(): return [('losses', 'x')]",
        PluginState.BROKEN,
        "an iterable of Component",
    ),
    "forgetful": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('forgetful', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_claims(): pass",
        PluginState.BROKEN,
        "an iterable of Claim",
    ),
    "trespasser": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('trespasser', api_version=(1, 1))\n"
        "@hookimpl\ndef mml_components(): return [Component('losses', 'good', 'cube', 'a:b')]",
        PluginState.BROKEN,
        "another plugin's name",
    ),
    "probes": (
        "@hookimpl\ndef mml_plugin(): return PluginInfo('probes', api_version=(1, 1), requires=('os.path',))",
        PluginState.BROKEN,
        "top-level",
    ),
}


@pytest.mark.parametrize("name", BAD_MODULES)
def test_a_bad_plugin_is_a_row_with_its_cause_and_the_others_work(discover, name, site, healthy):
    source, state, words = BAD_MODULES[name]
    site(name, plugin=source)
    healthy("good")
    manager = discover()

    rows = {row.name: row for row in manager.plugins}

    assert rows[name].state is state
    assert words in rows[name].cause
    assert rows[name].hint
    assert (rows[name].distribution, rows[name].version) == (f"mml-{name}", "1.0")
    assert rows["good"].state is PluginState.LOADED
    assert rows["mml"].state is PluginState.LOADED
    assert manager.registry("losses").load("good/square")(3) == 9
    assert "mml/standard" in manager.registry("scalers")


@pytest.mark.parametrize("name", [name for name in BAD_MODULES if name != "probes"])
def test_whoever_asks_a_bad_plugin_for_a_part_learns_cause_and_mend(discover, name, site):
    source, state, words = BAD_MODULES[name]
    site(name, plugin=source)

    with pytest.raises(UnknownComponentError) as caught:
        discover().registry("losses").resolve(f"{name}/square")

    message = str(caught.value)
    assert state.value in message
    assert words in message
    assert "try:" in message
    assert f"mml-{name} 1.0" in message


def test_the_original_exception_is_chained(discover, site):
    site("raises", plugin="raise ValueError('no good')")

    with pytest.raises(UnknownComponentError) as caught:
        discover().registry("losses").resolve("raises/x")

    assert isinstance(caught.value.__cause__, ValueError)


def test_an_unknown_short_name_mentions_plugins_in_trouble(discover, site):
    site("raises", plugin="raise ValueError('no good')")

    with pytest.raises(UnknownComponentError, match=r"raises.*broken.*no good"):
        discover().registry("losses").resolve("unheard_of")


def test_an_entry_point_to_nowhere_is_broken_not_missing(discover, site):
    site("gone", entry="a_plugin_module_that_is_gone")

    row = discover().status("gone")

    assert row.state is PluginState.BROKEN
    assert "a_plugin_module_that_is_gone" in row.cause


def test_a_plugin_without_its_framework_lists_components_and_says_how_to_install(discover, healthy):
    healthy("lacking", extra=', requires=("no_such_framework",), install="mml[lacking]"')
    manager = discover()

    row = manager.status("lacking")

    assert row.state is PluginState.MISSING_DEPENDENCY
    assert row.hint == 'pip install "mml[lacking]"'
    assert [one.qualified for one in row.components["losses"]] == ["lacking/square"]
    assert "lacking/square" in manager.registry("losses")
    for ask in (manager.registry("losses").resolve, manager.registry("losses").load):
        for spelling in ("lacking/square", "square"):
            with pytest.raises(PluginError) as caught:
                ask(spelling)
            assert "no_such_framework" in str(caught.value)
            assert 'pip install "mml[lacking]"' in str(caught.value)


def test_probing_a_framework_does_not_import_it(discover, site, healthy):
    site("framework", modules={"heavy_framework": "raise SystemError('imported')"}, point="\n")
    healthy("user_of_it", extra=', requires=("heavy_framework",)')

    assert discover().status("user_of_it").state is PluginState.LOADED
    assert "heavy_framework" not in sys.modules


def test_two_distributions_with_one_plugin_name_are_both_disabled_and_named(discover, site, healthy):
    for distribution in ("mml-one", "mml-two"):
        site("twin", plugin="raise AssertionError('imported')", distribution=distribution)
    healthy("good")
    manager = discover()

    rows = [row for row in manager.plugins if row.name == "twin"]

    assert [row.state for row in rows] == [PluginState.BROKEN] * 2
    assert {row.distribution for row in rows} == {"mml-one", "mml-two"}
    with pytest.raises(UnknownComponentError, match=r"(?s)mml-one 1\.0.*mml-two 1\.0.*MML_PLUGINS_BLOCK"):
        manager.registry("losses").resolve("twin/square")
    assert manager.registry("losses").load("square")(2) == 4


def test_blocking_one_distribution_settles_a_clash(discover, site, healthy, monkeypatch):
    site("twin", plugin="raise AssertionError('imported')", distribution="mml-one")
    healthy("twin", distribution="mml-two")
    monkeypatch.setenv("MML_PLUGINS_BLOCK", "mml_one")
    manager = discover()

    assert manager.registry("losses").load("twin/square")(2) == 4
    assert sorted(row.state for row in manager.plugins if row.name == "twin") == ["blocked", "loaded"]


def test_a_name_declared_twice_is_disabled_and_the_rest_of_the_plugin_works(discover, site):
    site(
        "double",
        plugin="""
        @hookimpl
        def mml_plugin(): return PluginInfo("double", api_version=(1, 1))

        @hookimpl
        def mml_components():
            yield Component("losses", "double", "same", "double_parts:first")
            yield Component("losses", "double", "same", "double_parts:second")
            yield Component("losses", "double", "other", "double_parts:other")
            yield Component("metrics", "double", "same", "double_parts:other")
        """,
        modules={"double_parts": "def other(): return 'other'"},
    )
    manager = discover()

    for spelling in ("double/same", "same"):
        with pytest.raises(UnknownComponentError) as caught:
            manager.registry("losses").resolve(spelling)
        for words in ("double_parts:first", "double_parts:second", "mml-double 1.0"):
            assert words in str(caught.value)
    assert manager.registry("losses").load("other")() == "other"
    assert manager.registry("metrics").load("same")() == "other"


@pytest.mark.parametrize("name", ["mml", "user"])
def test_reserved_plugin_names_are_refused_and_core_stays(discover, name, site):
    site(name, plugin="raise AssertionError('imported')", distribution="mml-impostor")
    manager = discover()

    rows = [row for row in manager.plugins if row.distribution == "mml-impostor"]

    assert [row.state for row in rows] == [PluginState.BROKEN]
    assert "reserved" in rows[0].cause
    assert manager.registry("scalers").resolve("mml/standard").plugin == "mml"
    assert manager.status("mml").state is PluginState.LOADED


@pytest.mark.parametrize(
    "content",
    [b"[mml.plugins]\n\xff\xfe = \xff\n", b"[mml.plugins]\nmangled = = : =\n", b"[mml.plugins]\nmangled\n"],
)
def test_a_distribution_that_cannot_be_read_spoils_only_its_own_row(discover, content, healthy, tmp_path):
    healthy("good")
    bad = tmp_path / "mml_mangled-1.0.dist-info"
    bad.mkdir()
    (bad / "METADATA").write_text("Name: mml-mangled\nVersion: 1.0\n", encoding="utf-8")
    (bad / "entry_points.txt").write_bytes(content)
    manager = discover()

    rows = {row.distribution: row for row in manager.plugins}

    assert rows["mml-mangled"].state is PluginState.BROKEN
    assert rows["mml-mangled"].cause
    assert rows["mml-good"].state is PluginState.LOADED
    assert rows["mml"].state is PluginState.LOADED
    assert manager.registry("losses").load("square")(2) == 4


def test_a_distribution_without_metadata_is_a_row(discover, healthy, tmp_path):
    healthy("good")
    bad = tmp_path / "mml_nameless-1.0.dist-info"
    bad.mkdir()
    (bad / "entry_points.txt").write_text("[mml.plugins]\nnameless = nameless\n", encoding="utf-8")
    rows = {row.name: row for row in discover().plugins}

    assert rows["good"].state is PluginState.LOADED
    assert [row.state for name, row in rows.items() if name not in ("good", "mml")] == [PluginState.BROKEN]


def test_block_acts_before_loading(discover, site, healthy, monkeypatch):
    site("raises", plugin="raise AssertionError('imported')")
    healthy("good")
    monkeypatch.setenv("MML_PLUGINS_BLOCK", " raises , ,unheard-of")
    manager = discover()

    assert manager.status("raises").state is PluginState.BLOCKED
    assert "mml_raises_plugin" not in sys.modules
    assert manager.status("good").state is PluginState.LOADED
    with pytest.raises(UnknownComponentError, match=r"(?s)blocked.*MML_PLUGINS_BLOCK"):
        manager.registry("losses").resolve("raises/square")


def test_strict_raises_for_everybody_and_lists_all_that_is_wrong(discover, site, healthy, monkeypatch):
    site("raises", plugin="raise ValueError('no good')")
    healthy("lacking", extra=', requires=("no_such_framework",)')
    healthy("good")
    monkeypatch.setenv("MML_PLUGINS_STRICT", "1")
    manager = discover()

    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            manager.registry("losses").resolve("good/square")
        assert "no good" in str(caught.value)
        assert "no_such_framework" in str(caught.value)
        assert isinstance(caught.value.__cause__, ValueError) or caught.value.__cause__ is None
    assert len(manager.plugins) == 4


def test_strict_is_content_with_healthy_and_blocked_plugins(discover, site, healthy, monkeypatch):
    site("raises", plugin="raise ValueError('no good')")
    healthy("good")
    monkeypatch.setenv("MML_PLUGINS_STRICT", "1")
    monkeypatch.setenv("MML_PLUGINS_BLOCK", "raises")

    assert discover().registry("losses").load("good/square")(3) == 9


def test_a_qualified_name_loads_its_own_plugin_alone(discover, site, healthy):
    site("raises", plugin="raise ValueError('no good')")
    healthy("good")
    manager = discover()

    assert manager.registry("losses").load("good/square")(3) == 9
    assert {row.name: row.state.value for row in manager.scan()} == {
        "mml": "discovered",
        "good": "loaded",
        "raises": "discovered",
    }


def test_a_target_that_fails_names_plugin_target_and_cause(discover, site):
    site(
        "late",
        plugin="""
        @hookimpl
        def mml_plugin(): return PluginInfo("late", api_version=(1, 1))

        @hookimpl
        def mml_components():
            for name in ("exits", "raises", "misses", "absent"):
                yield Component("losses", "late", name, f"late_{name}:it")
        """,
        modules={
            "late_exits": "import sys; sys.exit(1)",
            "late_raises": "raise ValueError('late')",
            "late_misses": "import a_module_that_is_not_there",
            "late_absent": "",
        },
    )
    losses = discover().registry("losses")

    causes = {
        "exits": SystemExit,
        "raises": ValueError,
        "misses": ModuleNotFoundError,
        "absent": AttributeError,
    }
    for name, cause in causes.items():
        with pytest.raises(PluginError, match=f"late/{name}") as caught:
            losses.load(f"late/{name}")
        assert isinstance(caught.value.__cause__, cause)
        assert f"late_{name}:it" in str(caught.value)


def test_the_supported_api_versions_are_a_range(discover, site):
    for name, versions in {"wide": (1, 7), "exact": (1, 1), "old": (0, 0), "newer": (2, 3)}.items():
        site(name, plugin=f"@hookimpl\ndef mml_plugin(): return PluginInfo({name!r}, api_version={versions})")
    rows = {row.name: row for row in discover().plugins}

    assert {name: row.state.value for name, row in rows.items()} == {
        "mml": "loaded",
        "wide": "loaded",
        "exact": "loaded",
        "old": "incompatible",
        "newer": "incompatible",
    }
    assert "Upgrade mml" in rows["newer"].hint
    assert "Upgrade the plugin" in rows["old"].hint


def test_discovery_from_many_threads_imports_each_plugin_once(discover, site):
    site(
        "slow",
        plugin="""
        import sys, time
        sys.loads_of_slow = getattr(sys, "loads_of_slow", 0) + 1
        time.sleep(0.2)

        @hookimpl
        def mml_plugin(): return PluginInfo("slow", api_version=(1, 1))

        @hookimpl
        def mml_components(): return [Component("losses", "slow", "it", "builtins:abs")]
        """,
    )
    manager, results = discover(), []
    start = threading.Barrier(8)

    def ask():
        start.wait()
        results.append(manager.registry("losses").load("slow/it"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [abs] * 8
    assert sys.loads_of_slow == 1
    del sys.loads_of_slow


def test_a_hook_may_ask_a_registry_while_its_plugin_is_loaded(discover, site, monkeypatch):
    site(
        "curious",
        plugin="""
        import sys

        @hookimpl
        def mml_plugin(): return PluginInfo("curious", api_version=(1, 1))

        @hookimpl
        def mml_components():
            sys.manager_under_test.asked += 1
            scalers = sys.manager_under_test.registry("scalers")
            help = f"{'mml/standard' in scalers} {len(scalers.names()) > 0}"
            yield Component("losses", "curious", "it", "builtins:abs", help)
        """,
    )
    manager = discover()
    manager.asked = 0
    monkeypatch.setattr(sys, "manager_under_test", manager, raising=False)

    assert [row.state for row in manager.plugins] == [PluginState.LOADED] * 2
    assert manager.registry("losses").resolve("it").help == "True True"
    assert manager.asked == 1


def test_a_stale_copy_further_down_the_path_is_not_a_clash(healthy, tmp_path):
    healthy("good")
    shadow = tmp_path / "further" / "mml_good-0.9.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Name: mml_good\nVersion: 0.9\n", encoding="utf-8")
    (shadow / "entry_points.txt").write_text("[mml.plugins]\ngood = gone\n", encoding="utf-8")
    row = PluginManager(path=[str(tmp_path), str(tmp_path / "further")]).status("good")

    assert (row.state, row.version) == (PluginState.LOADED, "1.0")


def test_asking_for_a_plugin_or_kind_that_does_not_exist_is_a_clear_error(discover, healthy):
    healthy("good")
    manager = discover()

    with pytest.raises(MMLError, match="'good'"):
        manager.status("goood")
    with pytest.raises(MMLError, match="'losses'"):
        manager.registry("loses")
    with pytest.raises(MMLError, match="no plugin"):
        manager.unregister("nobody")


def test_importing_the_plugin_system_reads_no_metadata_and_scans_nothing():
    code = (
        "import sys, mml.plugins\n"
        "print([name for name in ('importlib.metadata', 'subprocess', 'tempfile') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_by_default_plugins_are_looked_for_on_the_import_path(healthy):
    healthy("good")

    assert PluginManager().registry("losses").load("good/square")(3) == 9
