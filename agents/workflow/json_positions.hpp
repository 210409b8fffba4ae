#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace moderato {

/// Both count from 1; the column counts bytes.
struct TextPlace {
  std::size_t line = 1;
  std::size_t column = 1;
};

/// Where the values and member names of a JSON text stand. A value is named by its JSON pointer
/// ("/agents/writer/tools/0", "" for the whole).
class JsonPositions {
 public:
  /// `text` is JSON that parse_json() has accepted. Borrowed.
  explicit JsonPositions(std::string_view text);

  /// Of the value; where there is none, of the nearest value around it.
  [[nodiscard]] TextPlace value(std::string_view pointer) const;
  /// Of the member's name; of an array's item, its value.
  [[nodiscard]] TextPlace name(std::string_view pointer) const;
  /// Members that an object has twice: pointer and place of the second.
  [[nodiscard]] const std::vector<std::pair<std::string, TextPlace>>& repeated() const {
    return repeated_;
  }

 private:
  void walk(const std::string& pointer);
  void walk_object(const std::string& pointer);
  void walk_array(const std::string& pointer);
  void skip_space();
  std::string_view take_string();
  [[nodiscard]] TextPlace place(std::size_t offset) const;

  std::string_view text_;
  std::size_t at_ = 0;
  std::map<std::string, std::size_t, std::less<>> values_;
  std::map<std::string, std::size_t, std::less<>> names_;
  std::vector<std::pair<std::string, TextPlace>> repeated_;
};

/// `pointer` with one more member.
[[nodiscard]] std::string member_of(std::string_view pointer, std::string_view member);
[[nodiscard]] std::string item_of(std::string_view pointer, std::size_t index);
/// "/task/sequence/0/from" as people write it: "task.sequence[0].from".
[[nodiscard]] std::string readable(std::string_view pointer);

}  // namespace moderato
