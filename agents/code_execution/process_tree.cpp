#include <fmt/core.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <moderato/agents/code_execution/process.hpp>

namespace moderato {
namespace {

// The parent in /proc/N/stat: "N (any name, brackets included) S PARENT …"; 0: it has gone.
int parent_of(const std::filesystem::path& folder) {
  std::ifstream in(folder / "stat");
  std::string stat;
  std::getline(in, stat);
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || stat.size() < name_end + 5) return 0;
  int parent = 0;
  std::from_chars(stat.data() + name_end + 4, stat.data() + stat.size(), parent);
  return parent;
}

}  // namespace

// The limit on processes that the kernel keeps counts those of a user, not of a run, and does not
// hold for root. So they are counted.
std::size_t count_descendants(int process, std::size_t enough) {
  std::unordered_map<int, std::vector<int>> children;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end_of_list;
       !error && entry != end_of_list; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int id = 0;
    const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (problem != std::errc() || end != name.data() + name.size()) continue;
    if (const int parent = parent_of(entry->path()); parent > 0) children[parent].push_back(id);
  }
  std::size_t found = 0;
  for (std::vector<int> next{process}; !next.empty() && found < enough;) {
    const int parent = next.back();
    next.pop_back();
    for (const int child : children[parent]) {
      ++found;
      next.push_back(child);
    }
  }
  return found;
}

}  // namespace moderato
