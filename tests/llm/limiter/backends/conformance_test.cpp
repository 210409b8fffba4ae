#include <doctest/doctest.h>

#include <memory>
#include <moderato/llm/limiter/backends/in_process.hpp>
#include <moderato/llm/limiter/backends/shared_host_backend.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>
#include <string>

#include <support/temporary_folder.hpp>
#include "random_history.hpp"

// Every backend keeps the same promises on the same random histories. A seed that ever failed on
// one of them is kept here for all of them.

namespace moderato {
namespace {

using test::Fleet;
using test::RandomHistory;
using test::TemporaryFolder;

constexpr std::uint64_t first_seed = 1;
constexpr std::uint64_t last_seed = 80;

Fleet in_process(const QuotaOptions& options, std::size_t members) {
  const auto key = std::make_shared<InProcessBackend>(rules_of(options));
  Fleet fleet;
  for (std::size_t i = 0; i < members; ++i) fleet.push_back(key->member());
  return fleet;
}

Fleet shared_host_fleet(const std::string& path, const QuotaOptions& options, std::size_t members) {
  const auto host = SharedHost::open(path, rules_of(options));
  REQUIRE(host);
  Fleet fleet;
  for (std::size_t i = 0; i < members; ++i) {
    auto joined = (*host)->join(rules_of(options));
    REQUIRE(joined);
    fleet.push_back(std::make_shared<SharedHostBackend>(*host, *joined));
  }
  return fleet;
}

TEST_CASE("in_process keeps every promise on random histories") {
  for (std::uint64_t seed = first_seed; seed <= last_seed; ++seed) {
    CAPTURE(seed);
    CHECK(RandomHistory(seed).run(in_process) == "");
  }
}

TEST_CASE("shared_host keeps every promise on random histories") {
  const TemporaryFolder folder;
  for (std::uint64_t seed = first_seed; seed <= last_seed; ++seed) {
    CAPTURE(seed);
    const std::string path = folder.file(std::to_string(seed));
    CHECK(RandomHistory(seed).run([&](const QuotaOptions& options, std::size_t members) {
      return shared_host_fleet(path, options, members);
    }) == "");
  }
}

}  // namespace
}  // namespace moderato
