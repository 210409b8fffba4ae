#include <moderato/agents/code_execution/code_text.hpp>

#include <algorithm>
#include <array>
#include <cctype>

namespace moderato {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (is_blank(text.front()) || text.front() == '\r')) text.remove_prefix(1);
  while (!text.empty() && (is_blank(text.back()) || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

bool is_word_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return false;
  const auto c = static_cast<unsigned char>(text[at]);
  return std::isalnum(c) != 0 || c == '_';
}

// Where `word` stands by itself, from `from` on.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t from = 0) {
  for (std::size_t at = text.find(word, from); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    if ((at == 0 || !is_word_at(text, at - 1)) && !is_word_at(text, at + word.size())) return at;
  }
  return std::string_view::npos;
}

bool followed_by(std::string_view text, std::size_t at, std::string_view what) {
  while (at < text.size() && is_blank(text[at])) ++at;
  return text.substr(at).starts_with(what);
}

bool has_rm_rf(std::string_view line) {
  for (std::size_t at = find_word(line, "rm"); at != std::string_view::npos;
       at = find_word(line, "rm", at + 1)) {
    if (is_blank(line.size() > at + 2 ? line[at + 2] : 'x') && followed_by(line, at + 2, "-rf")) {
      return true;
    }
  }
  return false;
}

std::string quiet_pip_line(std::string_view line, std::string_view prefix) {
  std::string quiet(line);
  if (line.starts_with(prefix) && line.find("-qqq") == std::string_view::npos) {
    quiet.insert(prefix.size(), " -qqq");
  }
  return quiet;
}

}  // namespace

std::string language_name(std::string_view written) {
  std::string name(written);
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  if (name == "py" || name == "python3") return "python";
  if (name == "shell") return "sh";
  if (name == "cc" || name == "cxx" || name == "c++") return "cpp";
  if (name == "js") return "javascript";
  return name;
}

bool is_shell(std::string_view language) noexcept {
  static constexpr std::array<std::string_view, 6> shells{"sh",   "bash",       "shell",
                                                          "pwsh", "powershell", "ps1"};
  return std::find(shells.begin(), shells.end(), language) != shells.end();
}

// AutoGen takes any comment in the first line for a file name, so "# list the files" becomes one.
// Here a name is announced.
Result<std::optional<std::string>> file_name_from(std::string_view code) {
  std::string_view line = trimmed(code.substr(0, code.find('\n')));
  bool is_comment = false;
  for (const std::string_view opening : {"<!--", "/*", "//", "#"}) {
    if (!line.starts_with(opening)) continue;
    line.remove_prefix(opening.size());
    is_comment = true;
    break;
  }
  if (!is_comment) return std::nullopt;
  for (const std::string_view closing : {"-->", "*/"}) {
    if (line.ends_with(closing)) line.remove_suffix(closing.size());
  }
  line = trimmed(line);
  static constexpr std::string_view announced = "filename:";
  if (!line.starts_with(announced)) return std::nullopt;
  const std::string name(trimmed(line.substr(announced.size())));
  const std::filesystem::path path(name);
  const bool leaves = path.is_absolute() || name.empty() || name.find('\0') != std::string::npos ||
                      path.lexically_normal().begin()->string() == "..";
  if (leaves) return fail(ErrorCode::invalid_request, "Filename is not in the workspace");
  return name;
}

std::string with_quiet_pip(std::string_view language, std::string_view code) {
  const bool python = language.starts_with("python");
  if (!python && !is_shell(language)) return std::string(code);
  std::string quiet;
  for (std::size_t at = 0; at <= code.size();) {
    const std::size_t end = std::min(code.find('\n', at), code.size());
    const std::string_view line = code.substr(at, end - at);
    if (!python) {
      quiet += quiet_pip_line(line, "pip install");
    } else {
      quiet += quiet_pip_line(line, line.starts_with("! ") ? "! pip install" : "!pip install");
    }
    if (end < code.size()) quiet += '\n';
    at = end + 1;
  }
  return quiet;
}

std::string dangerous_command(std::string_view code) {
  for (std::size_t at = 0; at < code.size();) {
    const std::size_t end = std::min(code.find('\n', at), code.size());
    const std::string_view line = code.substr(at, end - at);
    if (has_rm_rf(line)) return "Use of 'rm -rf' command is not allowed.";
    const std::size_t move = find_word(line, "mv");
    if (move != std::string_view::npos && line.find(" /dev/null", move) != std::string_view::npos) {
      return "Moving files to /dev/null is not allowed.";
    }
    if (find_word(line, "dd") != std::string_view::npos) {
      return "Use of 'dd' command is not allowed.";
    }
    for (std::size_t to = line.find('>'); to != std::string_view::npos;
         to = line.find('>', to + 1)) {
      if (followed_by(line, to + 1, "/dev/sd")) {
        return "Overwriting disk blocks directly is not allowed.";
      }
    }
    std::string dense(line);
    std::erase_if(dense, is_blank);
    if (dense.find(":(){:|:&};:") != std::string::npos) return "Fork bombs are not allowed.";
    at = end + 1;
  }
  return {};
}

}  // namespace moderato
