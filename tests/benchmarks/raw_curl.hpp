#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moderato::bench {

/// The floor that moderato's HTTP is compared with: libcurl's multi interface on a bare epoll, and
/// nothing else.
struct RawCurlOptions {
  std::string url;
  std::vector<std::string> headers{};  ///< "Name: value".
  std::size_t concurrency = 1;
  /// Connections to a multi handle; 0: one multi handle for all.
  std::size_t per_multi = 0;
};

struct RawCurlResult {
  std::size_t ok = 0;  ///< Answers with status 200.
  std::size_t failed = 0;
  std::uint64_t answer_bytes = 0;
};

/// POSTs `requests` bodies (bodies[i % bodies.size()]), `concurrency` at a time, on the calling
/// thread.
[[nodiscard]] RawCurlResult run_raw_curl(const RawCurlOptions& options,
                                         const std::vector<std::string>& bodies,
                                         std::size_t requests);

}  // namespace moderato::bench
