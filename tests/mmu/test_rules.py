#!/usr/bin/env python3
"""Every rule of RULES.md is shown by a test that runs, and no rule is cited that is not there.

    test_rules.py ROOT
"""
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1))
TESTS = ROOT / "tests" / "mmu"
ROW = re.compile(r"^\| (\d+(?:\.\d+)?) \| [^|]+ \| ([^|]+) \|$", re.M)
NAMED = re.compile(r"^rule_(\d+)(?:_(\d+))?_")
# "(4.2)", "(4.2, 4.3)", "rule 5.3", "rules 15.1-15.8", "10.2 allows", "/* 6.3 */": where mmu/ and its
# tests cite. "SDM 4.10" and its like are sections of a manual.
CITED = re.compile(r"rules? (\d+(?:\.\d+)?)|\((\d+\.\d+)(?:, (\d+\.\d+))*\)")


def rules(text: str) -> dict[str, str]:
    return dict(ROW.findall(text))


def defined_and_run(sources: dict[str, str]) -> tuple[set[str], set[str]]:
    text = "\n".join(sources.values())
    return (set(re.findall(r"START_TEST\((\w+)\)", text)),
            set(re.findall(r"tcase_add_(?:loop_)?test\(\s*\w+,\s*(\w+)", text)))


def problems(listed: dict[str, str], sources: dict[str, str], cited: dict[str, str]) -> list[str]:
    found = []
    defined, run = defined_and_run(sources)
    named = set()
    for rule, shown in listed.items():
        if shown.startswith("- not modelled"):
            continue
        tests = shown.split(", ")
        named.update(tests)
        found += [f"rule {rule}: no test {test}" for test in tests if test not in defined & run]
        if not any(number(test) == rule for test in tests):
            found.append(f"rule {rule}: no test has its number in its name")
    found += [f"{test} is not in RULES.md" for test in sorted(defined - named) if NAMED.match(test)]
    for path, text in cited.items():
        for match in CITED.finditer(text):
            found += [f"{path} cites rule {rule}, which is not in RULES.md"
                      for rule in match.groups() if rule and rule not in listed and
                      not chapter(rule, listed)]
    return found


def chapter(rule: str, listed: dict[str, str]) -> bool:
    """A whole chapter may be cited."""
    return "." not in rule and any(other.split(".")[0] == rule for other in listed)


def number(test: str) -> str:
    match = NAMED.match(test)
    if not match:
        return ""
    return match[1] + ("." + match[2] if match[2] else "")


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.listed = rules((TESTS / "RULES.md").read_text())
        cls.sources = {path.name: path.read_text() for path in sorted(TESTS.glob("test_*.c"))}
        folders = (ROOT / "mmu", TESTS, ROOT / "tests" / "oracle")
        cls.cited = {str(path.relative_to(ROOT)): path.read_text()
                     for folder in folders for path in sorted(folder.glob("*.[ch]"))}

    def test_every_rule_is_shown(self):
        self.assertGreater(len(self.listed), 70)
        self.assertEqual(problems(self.listed, self.sources, self.cited), [])

    def test_the_check_finds_what_is_missing(self):
        def one(**change):
            listed = {"1.1": "rule_1_1_a", "5.8": "- not modelled"} | change.get("listed", {})
            source = change.get("source", "START_TEST(rule_1_1_a) tcase_add_test(tc, rule_1_1_a)")
            return problems(listed, {"t.c": source}, {"c.c": change.get("cited", "rule 1.1, (1.1)")})

        self.assertEqual(one(), [])
        self.assertTrue(one(source="START_TEST(rule_1_1_a)"))  # never run
        self.assertTrue(one(source=""))
        self.assertTrue(one(listed={"1.2": "rule_1_1_a"}))  # of another number
        self.assertTrue(one(source="START_TEST(rule_1_1_a) START_TEST(rule_1_2_b) "
                                   "tcase_add_test(tc, rule_1_1_a)"))  # not listed
        self.assertTrue(one(cited="as rule 7.9 says"))
        self.assertTrue(one(cited="(1.1, 7.9)"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
