#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace moderato {

/// For ->check(…): a number of 0 or more.
[[nodiscard]] inline CLI::Validator not_negative() {
  return {[](std::string& text) {
            double number = 0;
            if (CLI::detail::lexical_cast(text, number) && number >= 0) return std::string();
            return "\"" + text + "\" is no number of 0 or more";
          },
          "NONNEGATIVE", "NONNEGATIVE"};
}

/// For ->check(…): a number above 0.
[[nodiscard]] inline CLI::Validator positive() {
  return {[](std::string& text) {
            double number = 0;
            if (CLI::detail::lexical_cast(text, number) && number > 0) return std::string();
            return "\"" + text + "\" is no number above 0";
          },
          "POSITIVE", "POSITIVE"};
}

}  // namespace moderato
