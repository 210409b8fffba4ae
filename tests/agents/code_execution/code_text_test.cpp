#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <moderato/agents/code_execution/code_block.hpp>
#include <moderato/agents/code_execution/code_text.hpp>

using namespace moderato;

TEST_CASE("fenced blocks are found by AutoGen's rules") {
  using Blocks = std::vector<CodeBlock>;
  CHECK(fenced_blocks("text\n```sh\nls\n```\nmore\n```python\nx\n```") ==
        Blocks{{"sh", "ls"}, {"python", "x"}});
  CHECK(fenced_blocks("```python\n```").empty());       // an empty block needs a blank line
  CHECK(fenced_blocks("```c++\nint x;\n```").empty());  // "c++" is no language
  CHECK(fenced_blocks("```python print(1)```").empty());
  CHECK(fenced_blocks("```python\nprint(1)\n").empty());  // never closed
  CHECK(fenced_blocks("```python\r\nx\r\ny\r\n```") == Blocks{{"python", "x\r\ny"}});
  CHECK(fenced_blocks("```\n1 +\n```") == Blocks{{"", "1 +"}});
  CHECK(extract_code_blocks("```\nx = 1\nprint(x)\n```") == Blocks{{"python", "x = 1\nprint(x)"}});
}

TEST_CASE("code without a language is told from shell lines and prose") {
  for (const char* python :
       {"", "print(1)", "# comment", "x = [1,\n     2]", "def f(a, *, b=1) -> int:\n    return a",
        "for i in range(3):\n    print(f'{i}')", "a, b = 1, 2", "x = 'a' 'b'", "match = 3",
        "if x is not None and y:\n    pass\nelse:\n    raise", "from . import x", "print(*a, **b)",
        "s = \"\"\"many\nlines\"\"\"", "with open('f') as f: pass", "@cached\ndef f(): ...",
        "x[1:2] = lambda: 0", "y = x if x else -1", "a not in b"}) {
    CAPTURE(python);
    CHECK(infer_language(python) == "python");
  }
  for (const char* other : {"echo hi", "x = ", "def f(:", "{", "'unterminated", "print 'x'", "1 +",
                            "Hello dear world", "echo not python", "do it while you can", "cd ..",
                            "cat file | wc", "int main() { return 0; }", "x = $HOME"}) {
    CAPTURE(other);
    CHECK(infer_language(other) == "unknown");
  }
  CHECK(infer_language("pip install x") == "sh");
  CHECK(infer_language("python3 x.py") == "sh");
}

TEST_CASE("comment-taken-for-filename: the first line names a file only if it says filename") {
  CHECK(*file_name_from("# filename: a.py\nx").value() == "a.py");
  CHECK(*file_name_from("<!-- filename: a.html -->\n").value() == "a.html");
  CHECK_FALSE(file_name_from("# list the files\nls").value().has_value());
  CHECK_FALSE(file_name_from("x = 1\n# filename: a.py").value().has_value());
  CHECK_FALSE(file_name_from("# filename: /etc/passwd").has_value());
  CHECK_FALSE(file_name_from("# filename: a/../../b").has_value());
  CHECK(*file_name_from("# filename: a/../b").value() == "a/../b");
}

TEST_CASE("pip is made quiet where it is a command") {
  CHECK(with_quiet_pip("sh", "pip install x\necho pip install x") ==
        "pip install -qqq x\necho pip install x");
  CHECK(with_quiet_pip("python", "!pip install x\npip install y") ==
        "!pip install -qqq x\npip install y");
  CHECK(with_quiet_pip("rust", "pip install x") == "pip install x");
}

TEST_CASE("commands on AutoGen's list are found, words that contain them are not") {
  for (const char* bad :
       {"rm -rf ./x", "mv a /dev/null", "dd if=a of=b", "echo > /dev/sda1", ":(){ :|:& };:"}) {
    CAPTURE(bad);
    CHECK_FALSE(dangerous_command(bad).empty());
  }
  CHECK(dangerous_command("git add .\nfarm -rfx\nrm file").empty());
}
