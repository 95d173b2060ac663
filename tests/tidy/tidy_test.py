#!/usr/bin/env python3
"""The tidy rules, each violated once in a small tree made for it, and the findings it must give."""
import contextlib
import io
import os
import tempfile
import unittest

import tidy as program

HEADER = "// What it is for.\n#pragma once\n"
GOOD = {
    "CMakeLists.txt": "foreach(folder impl)\n  add_subdirectory(${folder})\nendforeach()\n",
    "ARCHITECTURE.md": "```arrows\n0 core\n2 port: core\n3 comm backend.*: port\n4 protocol: comm port\n6 cli: *\n```\n",
    "README.md": "`./run build`, `impl/core/box.h`, `holdfast save A B`, `holdfast sim run`, `box.h`\n",
    "run": "verb_build() { :; }\n",
    "impl/core/CMakeLists.txt": "holdfast_library(NAME core SOURCES box.cc HEADERS box.h)\n",
    "impl/core/box.h": HEADER,
    "impl/core/box.cc": '#include "impl/core/box.h"\n// std::thread is banned here; so is "std::mutex" in a string\nconst char* x = "std::mutex";\n',
    "impl/port/CMakeLists.txt": "holdfast_library(NAME port HEADERS net.h USES core)\n",
    "impl/port/net.h": HEADER + '#include "impl/core/box.h"\n',
    "impl/comm/CMakeLists.txt": "set(SOURCES comm.cc)\nholdfast_library(NAME comm SOURCES ${SOURCES} HEADERS comm.h USES port)\n",
    "impl/comm/comm.h": HEADER + '#include "impl/port/net.h"\n',
    "impl/comm/comm.cc": '#include "impl/comm/comm.h"\n#include "impl/core/box.h"\n',
    "impl/cli/CMakeLists.txt": "holdfast_program(NAME holdfast SOURCES main.cc USES comm)\n",
    "impl/cli/main.cc": '#include "impl/comm/comm.h"\nconst char* verb = "save";\n',
    "sim/main/CMakeLists.txt": "holdfast_program(NAME holdfast-sim SOURCES main.cc USES comm)\n",
    "sim/main/main.cc": 'const char* verb = "run";\n',
    "tests/CMakeLists.txt": "foreach(name box)\n  holdfast_test(NAME ${name}_test SOURCES ${name}_test.cc USES core)\nendforeach()\n",
    "tests/box_test.cc": '#include "impl/core/box.h"\n',
}


def tidy(changes):
    """The findings over the good tree with some files replaced or added (None removes one)."""
    with tempfile.TemporaryDirectory() as root:
        for file, text in {**GOOD, **changes}.items():
            if text is not None:
                path = os.path.join(root, file)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as stream:
                    stream.write(text)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = program.main([root])
        return status, output.getvalue().splitlines()[:-1]


class Tidy(unittest.TestCase):
    def only(self, changes, beginning, *contained):
        """Exactly one finding, at the place and with the words given."""
        status, found = tidy(changes)
        self.assertEqual((status, len(found)), (1, 1), found)
        self.assertTrue(found[0].startswith(beginning), found)
        for words in contained:
            self.assertIn(words, found[0])

    def test_finds_nothing_in_a_good_tree(self):
        self.assertEqual(tidy({}), (0, []))

    def test_refuses_what_is_no_source_tree(self):
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual([program.main([]), program.main(["/nowhere"])], [2, 2])

    def test_reports_an_include_that_uses_do_not_declare(self):
        self.only({"impl/port/net.h": HEADER + '#include "impl/comm/comm.h"\n'}, "impl/port/net.h:3: ", "comm", "USES")
        self.only({"tests/box_test.cc": '#include "impl/comm/comm.h"\n'}, "tests/box_test.cc:1: ", "of comm; box_test declares USES")

    def test_reports_an_include_of_what_is_not_there(self):
        self.only({"impl/comm/comm.h": HEADER + '#include "comm/gone.h"\n'}, "impl/comm/comm.h:3: ", "no such file")

    def test_reports_an_arrow_that_the_table_does_not_allow(self):
        self.only({"impl/core/CMakeLists.txt": "\nholdfast_library(NAME core SOURCES box.cc HEADERS box.h USES extra)\n",
                   "tests/extra/CMakeLists.txt": "holdfast_library(NAME extra)\n"}, "impl/core/CMakeLists.txt:2: ", "core uses extra")

    def test_reports_a_cycle(self):
        _, found = tidy({"impl/core/CMakeLists.txt": "holdfast_library(NAME core SOURCES box.cc HEADERS box.h USES port)\n"})
        self.assertTrue(any("port -> core -> port is a cycle" in line for line in found), found)

    def test_reports_a_library_without_a_line_and_a_use_of_none(self):
        self.only({"impl/new/CMakeLists.txt": "holdfast_library(NAME new)\n"}, "impl/new/CMakeLists.txt:1: ", "has no line")
        self.only({"tests/CMakeLists.txt": "holdfast_test(NAME t SOURCES box_test.cc USES core nothing)\n"}, "tests/CMakeLists.txt:1: ", "nothing")

    def test_reads_libraries_made_by_hand(self):
        by_hand = 'add_library(holdfast_backend.x OBJECT x.cc)\nset_property(GLOBAL APPEND PROPERTY HOLDFAST_FOLDERS "backend.x=d=port")\n'
        linked = "add_library(holdfast_backend.x STATIC x.cc)\ntarget_link_libraries(holdfast_backend.x PUBLIC holdfast_port)\n"
        for text in [by_hand, linked]:
            good = {"impl/backend/x/CMakeLists.txt": text, "impl/backend/x/x.cc": '#include "impl/port/net.h"\n'}
            with self.subTest(text):
                self.assertEqual(tidy(good), (0, []))
                self.only({**good, "impl/backend/x/x.cc": '#include "impl/comm/comm.h"\n'}, "impl/backend/x/x.cc:1: ", "backend.x declares USES")

    def test_reports_a_missing_table(self):
        self.only({"ARCHITECTURE.md": "no table\n"}, "ARCHITECTURE.md:1: ", "arrows")

    def test_reports_each_banned_call_in_pure_and_protocol_code(self):
        for call in ["std::thread t;", "std::mutex m;", "std::condition_variable c;", "std::async(f);", "std::future<int> f;", "std::promise<int> p;",
                     "std::random_device d;", "std::mt19937 g;", "auto t = std::chrono::system_clock::now();", "std::chrono::steady_clock c;",
                     "std::chrono::high_resolution_clock c;", 'std::getenv("X");', "thread_local int x;", "std::unordered_map<int, int> m;",
                     "std::unordered_set<int> s;", 'std::cout << 1;', "time(nullptr);", "rand();", "std::atomic<int> a;", "#include <iostream>"]:
            with self.subTest(call):
                self.only({"impl/comm/comm.cc": f'#include "impl/comm/comm.h"\n{call}\n'}, "impl/comm/comm.cc:2: ", "pure or protocol")

    def test_reports_durable_steps_outside_the_files_that_prove_them(self):
        library = "holdfast_library(NAME protocol SOURCES {0} USES port)\n"
        for call in ("storage.sync(file, deadline);", "storage->rename(a, b, deadline);", "env.storage.link_if_absent(a, b, deadline);",
                     "publish_if_absent(storage, directory, name, bytes, deadline);", "link_durably(storage, a, b, c, bytes, deadline);"):
            with self.subTest(call=call):
                self.only({"impl/protocol/CMakeLists.txt": library.format("save.cc"), "impl/protocol/save.cc": f"void f() {{\n  {call}\n}}\n"},
                          "impl/protocol/save.cc:2: ", "goes round a proof of durability")
        for file, call in (("durable.cc", "storage.sync(file, deadline);"), ("files.cc", "storage.rename(a, b, deadline);"),
                           ("commit.cc", "publish_if_absent(storage, directory, name, bytes, deadline);"),
                           ("give_up.cc", "link_durably(storage, a, b, c, bytes, deadline);"),
                           ("save.cc", "storage.sync_directory(a, deadline); if (storage.caps().link_if_absent) return;")):
            with self.subTest(file=file):
                self.assertEqual(tidy({"impl/protocol/CMakeLists.txt": library.format(file), f"impl/protocol/{file}": call + "\n"}), (0, []))

    def test_reports_streams_that_do_not_come_after_the_trainer(self):
        library = "holdfast_library(NAME protocol SOURCES {0} USES port)\n"
        call = "auto stream = env.device.create_stream();\n"
        self.only({"impl/protocol/CMakeLists.txt": library.format("save.cc"), "impl/protocol/save.cc": call}, "impl/protocol/save.cc:1: ",
                  "opens a stream that does not wait for the trainer")
        self.assertEqual(tidy({"impl/protocol/CMakeLists.txt": library.format("trainer_work.cc"), "impl/protocol/trainer_work.cc": call}), (0, []))

    def test_allows_what_only_looks_banned(self):
        for line in ["clock.time(1);", "int runtime(int);", "// std::mutex", "/* thread_local\n */", 'auto s = R"(std::mutex)";', "double wall_time (int);"]:
            with self.subTest(line):
                self.assertEqual(tidy({"impl/comm/comm.cc": line + "\n"}), (0, []))
        self.assertEqual(tidy({"impl/cli/main.cc": 'const char* verb = "save";\nthread_local int x;\n'}), (0, []))

    def test_reports_cuda_outside_its_folders(self):
        for header in ["cuda_runtime.h", "nccl.h", "cuda.h", "cooperative_groups.h"]:
            with self.subTest(header):
                self.only({"impl/comm/comm.cc": f"#include <{header}>\n"}, "impl/comm/comm.cc:1: ", "CUDA")
        inside = {"impl/backend/cuda/CMakeLists.txt": "holdfast_library(NAME backend.cuda SOURCES a.cc USES port)\n",
                  "impl/backend/cuda/a.cc": "#include <cuda_runtime.h>\n"}
        self.assertEqual(tidy(inside), (0, []))

    def test_reports_a_source_that_nothing_builds(self):
        for file in ["tests/lost_test.cc", "impl/comm/lost.cc", "sim/lost.cc", "reports/lost.cc", "properties/lost.cc", "model/lost.cc"]:
            with self.subTest(file):
                self.only({file: "\n"}, file + ":1: ", "in no CMakeLists.txt")

    def test_reports_what_a_document_names_and_nobody_has(self):
        for span in ["./run fly", "holdfast fly", "holdfast-fly", "holdfast sim fly", "impl/core/gone.h", "impl/gone/", "gone.md",
                     "build/release/bin/holdfast-gone"]:
            for document in ["README.md", "ARCHITECTURE.md", "STYLE.md", "properties/CATALOGUE.md", "impl/format/FORMAT.md", "sim/FAULTS.md"]:
                with self.subTest(span=span, document=document):
                    self.only({document: GOOD.get(document, "") + f"`{span}`\n"}, document + ":", span, "expected")
        self.only({"README.md": "```sh\n./run build\n./run fly\n```\n"}, "README.md:3: ", "no verb fly")

    def test_reports_private_paths_and_unfinished_work(self):
        for words in ["/wo" "rk/x", "/ho" "me/me/x", "sha" "red/design/a.md", "TO" "DO: later", "FIX" "ME", "XX" "X"]:
            with self.subTest(words):
                self.only({"impl/comm/comm.cc": f"\n// {words}\n"}, "impl/comm/comm.cc:2: ", words.split(":", maxsplit=1)[0])

    def test_reports_a_header_without_banner_or_guard(self):
        self.only({"impl/core/box.h": "#pragma once\n"}, "impl/core/box.h:1: ", "banner")
        self.only({"impl/core/box.h": "// What it is for.\n#ifndef BOX_H\n"}, "impl/core/box.h:2: ", "#pragma once")


if __name__ == "__main__":
    unittest.main()
