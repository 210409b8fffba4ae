#pragma once

// Private header of the library: not installed.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>

namespace moderato {

/// The lower-case name by which a language is known here: "py" is "python", "shell" is "sh".
[[nodiscard]] std::string language_name(std::string_view written);
[[nodiscard]] bool is_shell(std::string_view language) noexcept;

/// The name that the first line of some code gives its file: `# filename: a.py`, also behind `//`,
/// `/*` and `<!--`. nullopt: none is given. Error invalid_request: not a path within a folder.
[[nodiscard]] Result<std::optional<std::string>> file_name_from(std::string_view code);

/// `pip install` made quiet: -qqq is added to lines of shell code that begin with it, and to those
/// of Python that begin with `!pip install`.
[[nodiscard]] std::string with_quiet_pip(std::string_view language, std::string_view code);

/// Why a shell script must not be run outside a sandbox (AutoGen's list: rm -rf, dd, and so on);
/// empty: nothing of the kind was found. No protection against malice.
[[nodiscard]] std::string dangerous_command(std::string_view code);

}  // namespace moderato
