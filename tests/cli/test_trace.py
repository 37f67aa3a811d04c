"""`kmemlab trace` and `info --distributions`: traces out of traces."""

import os
import re
import unittest

from program import CHECK_FAILED, Case, OK, SOURCE, USAGE, ftrace_text, main

RECORDED = os.path.join(SOURCE, "workloads", "recorded", "redis-page.kmt")


def heap_csv():
    """Objects, regions and a split block, in a CSV: what a cut must carry over."""
    lines = ["time,cpu,task,event,frame,frames,order,address,bytes,access,child,name"]
    for number in range(40):
        lines.append(f"{10 * number},0,1,heap_alloc,,,,{0xffff800000000000 + 64 * number:#x},48,,,")
        lines.append(f"{10 * number + 1},0,1,frame_alloc,{0x100 + 4 * number:#x},,2,,,,,")
        lines.append(f"{10 * number + 2},0,1,frame_free,{0x101 + 4 * number:#x},1,,,,,,")
        lines.append(f"{10 * number + 3},0,9,touch,,,,{0x400000 + 4096 * number:#x},8,rw,,")
        if number % 3 == 0:
            lines.append(f"{10 * number + 4},0,2,heap_free,,,,"
                         f"{0xffff800000000000 + 64 * number:#x},,,,")
    lines.append("990,0,9,fork,,,,,,,10,worker")
    lines.append("995,0,10,touch,,,,0x400000,1,r,,")
    return "\n".join(lines) + "\n"


class Trace(Case):
    def imported(self, name, text):
        self.write(name + ".txt", text.encode())
        self.assert_exit(OK, "import", self.path(name + ".txt"), "-o", self.path(name + ".kmt"))
        return self.path(name + ".kmt")

    def made(self, action, *arguments, output="out.kmt"):
        self.assert_exit(OK, "trace", action, *arguments, "-o", self.path(output))
        self.assert_exit(OK, "trace", "validate", self.path(output))
        return self.path(output)

    def dump(self, path):
        text = self.assert_exit(OK, "info", path, "--dump").stdout
        return [line for line in text.splitlines() if not line.startswith("#")]

    def replayed(self, path):
        return self.json("replay", path, "--frames", "buddy", "--pass", "native", "--json")

    # ---- cut and merge ----

    def test_pieces_merge_into_the_whole(self):
        for name, text in (("frames", ftrace_text(seed=3, events=900)), ("heap", heap_csv())):
            with self.subTest(name=name):
                whole = self.imported(name, text)
                events = self.json("info", whole, "--json")["total_events"]
                third, half = events // 3, events // 2
                pieces = [self.made("cut", whole, "--events", span, output=f"{number}.kmt")
                          for number, span in enumerate((f"..{third}", f"{third}..{half}",
                                                         f"{half}.."))]
                joined = self.made("merge", pieces[2], pieces[0], pieces[1])
                # The same handles: a cut of everything numbers them alike.
                everything = self.made("cut", whole, "--events", "0..", output="all.kmt")
                self.assertEqual(self.dump(joined), self.dump(everything))
                self.assertIsNone(self.json("info", joined, "--json").get("cut"))

    def test_a_recording_cut_and_merged_gives_the_digest_of_the_whole(self):
        pieces = [self.made("cut", RECORDED, "--events", span, output=f"{number}.kmt")
                  for number, span in enumerate(("0..77777", "77777..150000", "150000.."))]
        joined = self.made("merge", *reversed(pieces))
        whole, again = self.replayed(RECORDED), self.replayed(joined)
        for key in ("digest", "events", "failures", "violations"):
            self.assertEqual(whole[key], again[key], key)
        self.assertEqual(self.replayed(pieces[2])["violations"], 0)

    def test_a_piece_by_time_begins_at_its_time(self):
        piece = self.made("cut", RECORDED, "--time", "5..6.5")
        told = self.json("info", piece, "--json")
        self.assertLessEqual(told["span_ns"], 1_500_000_000)
        self.assertGreater(told["prologue"], 1000)

    def test_pieces_with_a_gap_are_refused(self):
        whole = self.imported("frames", ftrace_text(events=300))
        one = self.made("cut", whole, "--events", "0..100", output="1.kmt")
        two = self.made("cut", whole, "--events", "150..200", output="2.kmt")
        done = self.assert_exit(USAGE, "trace", "merge", one, two, "-o", self.path("no.kmt"))
        self.assertIn("side by side", done.stderr)
        self.assertFalse(os.path.exists(self.path("no.kmt")))

    def test_traces_of_two_machines_share_one(self):
        one = self.imported("one", ftrace_text(seed=1, events=500))
        two = self.imported("two", ftrace_text(seed=2, events=300))
        told = [self.json("info", path, "--json")
                for path in (one, two, self.made("merge", one, two))]
        for key in ("total_events", "cpus", "prologue_frames", "usable_frames", "handles"):
            self.assertEqual(told[2][key], told[0][key] + told[1][key], key)

    # ---- filter, scale, anonymise ----

    def test_a_filter_keeps_allocations_with_their_frees(self):
        whole = self.imported("frames", ftrace_text(events=600))
        for option, value, pattern in (("--cpu", "1", "cpu=1 "), ("--task", "100", "task=100 "),
                                       ("--task", "work", "task="), ("--order", "2..3", "")):
            with self.subTest(option=option, value=value):
                kept = self.dump(self.made("filter", whole, option, value))
                allocations = [line for line in kept if " frame_alloc " in line]
                self.assertGreater(len(allocations), 10)
                self.assertTrue(all(pattern in line for line in allocations
                                    if line.startswith("event")))
                if option == "--order":
                    self.assertTrue(all(re.search(r" frames=[48] ", line)
                                        for line in allocations))
        self.assert_exit(USAGE, "trace", "filter", whole, "--task", "nobody", "-o",
                         self.path("none.kmt"))
        self.assertFalse(os.path.exists(self.path("none.kmt")))

    def test_copies_add_up(self):
        whole = self.imported("frames", ftrace_text(events=400))
        one = self.json("info", whole, "--json")
        more = self.json("info", self.made("scale", whole, "--copies", "5", "--shift", "0.25"),
                         "--json")
        self.assertEqual(more["events"]["frame_alloc"], 5 * one["events"]["frame_alloc"])
        self.assertEqual(more["cpus"], 5 * one["cpus"])
        self.assertEqual(more["span_ns"], one["span_ns"] + 1_000_000_000)
        replayed = self.replayed(self.path("out.kmt"))
        self.assertEqual((replayed["violations"], replayed["failures"]), (0, 0))

    def test_no_name_survives_anonymising(self):
        lines = ftrace_text(events=100).splitlines()
        lines.append("            work-100   [000] .....     9.000000: tracing_mark_write: secret")
        lines.append("            work-100   [000] .....     9.000001: kmalloc: "
                     "call_site=secret_function+0x10/0x20 ptr=0xffff888000001000 bytes_req=8 "
                     "bytes_alloc=8 gfp_flags=GFP_KERNEL")
        lines.append("            work-100   [000] .....     9.000002: sched_process_exec: "
                     "filename=/secret/program pid=100 old_pid=100")
        whole = self.imported("frames", "\n".join(lines) + "\n")
        once = self.made("anonymise", whole, "--key", "k", output="a.kmt")
        self.assertIn("secret", self.assert_exit(OK, "info", whole, "--dump").stdout)
        text = self.assert_exit(OK, "info", once, "--dump").stdout
        self.assertNotIn("secret", text)
        self.assertNotIn("work", text)
        self.assertEqual(self.read("a.kmt"),
                         self.read(os.path.basename(self.made("anonymise", whole, "--key", "k"))))
        self.made("anonymise", whole, output="random.kmt")
        self.assertNotEqual(self.read("a.kmt"), self.read("random.kmt"))
        self.assertEqual(len(self.dump(whole)), len(self.dump(once)))

    # ---- diff, validate, convert ----

    def test_diff_names_what_differs(self):
        one = self.imported("one", ftrace_text(events=200))
        lines = ftrace_text(events=200).splitlines()
        place = next(i for i, line in enumerate(lines) if "gfp_flags=GFP_KERNEL" in line and i > 50)
        lines[place] = lines[place].replace("GFP_KERNEL", "GFP_USER")
        two = self.imported("two", "\n".join(lines) + "\n")
        done = self.assert_exit(CHECK_FAILED, "trace", "diff", one, two)
        shown = [line for line in done.stdout.splitlines() if line[:2] in ("- ", "+ ")]
        self.assertEqual(len(shown), 2)
        self.assertIn("gfp=0xcc0", shown[0])
        self.assertIn("event section: 1 of ", done.stdout)
        self.assertEqual(self.assert_exit(OK, "trace", "diff", one, one).stdout, "")

    def test_text_and_back_is_the_same_file(self):
        for path in (RECORDED, self.imported("heap", heap_csv())):
            self.assert_exit(OK, "trace", "convert", path, "-o", self.path("twin.txt"))
            self.assert_exit(OK, "trace", "convert", self.path("twin.txt"), "-o",
                             self.path("again.kmt"))
            with open(path, "rb") as first:
                self.assertEqual(first.read(), self.read("again.kmt"))

    def test_what_makes_no_sense_is_not_valid(self):
        self.write("bad.txt", b"# kmemlab trace 1\nevent 0 frame_free time=0 cpu=0 task=0 "
                              b"handle=7 frame=none\n")
        self.assert_exit(OK, "trace", "convert", self.path("bad.txt"), "-o", self.path("bad.kmt"))
        done = self.assert_exit(3, "trace", "validate", self.path("bad.kmt"))
        self.assertIn("event 0: free of a handle that is not alive", done.stderr)

    def test_wrong_use_is_named(self):
        for arguments in ((), ("turn",), ("cut", RECORDED), ("cut", RECORDED, "--events", "5"),
                          ("cut", RECORDED, "--events", "9..5", "-o", "x"), ("merge", RECORDED),
                          ("cut", RECORDED, "--events", "1..", "--time", "1..", "-o", "x"),
                          ("scale", RECORDED, "-o", "x"), ("filter", RECORDED, "-o", "x"),
                          ("scale", RECORDED, "--copies", "100000", "-o", "x"),
                          ("filter", RECORDED, "--order", "3..1", "-o", "x")):
            with self.subTest(arguments=arguments):
                self.assert_exit(USAGE, "trace", *arguments)

    # ---- distributions ----

    def test_distributions_count_what_happened(self):
        path = self.imported("heap", heap_csv())
        told = self.json("info", path, "--distributions", "--json")
        found, events = told["distributions"], told["events"]
        self.assertEqual(sum(found["orders"]), events["frame_alloc"])
        self.assertEqual(found["orders"][2], 40)
        self.assertEqual(found["heap_sizes"][5], 40)  # 48 bytes: 32 to 63
        self.assertEqual(sum(found["heap_lifetimes"]), events["heap_free"])
        self.assertEqual(found["objects_left"], 40 - 14)
        self.assertEqual(found["live"][-1]["frames"], 40 * 3)
        self.assertEqual(found["most_heap_bytes"], 27 * 48)  # just before the last is freed
        self.assertEqual(found["live"][-1]["heap_bytes"], 26 * 48)
        text = self.assert_exit(OK, "info", path, "--distributions").stdout
        self.assertRegex(text, r"order 2 +40 #+")


if __name__ == "__main__":
    main()
