"""The benchmarks run at their smallest size and print what the contract says."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "cli"))

from program import Case, OK, main  # noqa: E402

NUMBER = (int, float)


def number_or_null(value):
    return value is None or isinstance(value, NUMBER) and not isinstance(value, bool)


class Bench(Case):
    def figures(self, *arguments):
        done = self.json("bench", *arguments, "--scale", "1", "--json")
        self.assert_shape(done, [{
            "name": str, "value": NUMBER, "unit": str, "yardstick": str, "ratio": NUMBER,
            "goal": number_or_null, "met": lambda it: it in (True, False, None)}])
        return done

    def test_figures_are_ratios_to_yardsticks_and_suites_may_be_chosen(self):
        done = self.figures()
        names = [one["name"] for one in done]
        self.assertEqual(len(names), len(set(names)))
        for one in done:
            with self.subTest(name=one["name"]):
                self.assertGreater(one["value"], 0)
                # Another malloc that is not there has no figure, and the row says so.
                if "(" in one["yardstick"] and one["name"].startswith("heaps/"):
                    self.assertEqual((one["ratio"], one["goal"]), (0, None))
                else:
                    self.assertGreater(one["ratio"], 0)
                self.assertTrue(one["unit"] and one["yardstick"])
                self.assertEqual(one["goal"] is None, one["met"] is None)
                if one["goal"] is not None:
                    self.assertEqual(one["met"], one["ratio"] <= one["goal"])

        # And one suite alone, as a table: a line a figure below the header.
        table = self.assert_exit(OK, "bench", "frames", "--scale", "1").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table[1:]],
                         [name for name in names if name.startswith("frames/")])
        for system in ("frames/bitmap", "frames/buddy", "frames/stack"):
            self.assertIn(system, names)
        self.assertTrue(any(name.startswith("replay/") for name in names))


if __name__ == "__main__":
    main()
