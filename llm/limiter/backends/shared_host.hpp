#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// A quota that the processes of this host share through a file on a local file system:
///
///   .limiter = shared_host("/run/shop/openai.quota", {.requests_per_minute = 60})
///
/// The file is made if it is not there (57 KiB, readable by its owner only), and one of an
/// earlier boot is replaced: its levels are forgotten, because its clock is. Calls of all processes
/// go in one order, fair between tenants. When a process dies, however it dies, its calls in flight
/// and its places in the queue are free again within 0.2 s, and what it had charged stays charged.
///
/// If the processes state different quotas, the lower of each limit counts while they live;
/// `describe()` says so. A process that finds no other gets the quota that it states.
///
/// Delete the file only when no process uses it (those that do would go on with the deleted one).
/// Do not use the limiter in a child made by fork() without exec: open it there.
///
/// Throws std::invalid_argument for a quota that makes no sense, and std::runtime_error with what
/// is wrong and what to do if the file cannot be used: it cannot be made or opened, is on a network
/// file system, is not a file of a shared quota (it is left alone), was made by another version, or
/// is damaged.
[[nodiscard]] Limiter shared_host(const std::string& path, QuotaOptions options);

/// The same, as several limiters that do not know each other's queues: what several processes would
/// have, for simulations of them.
[[nodiscard]] std::vector<Limiter> shared_host(const std::string& path, QuotaOptions options,
                                               std::size_t count);

/// The backend alone, and errors as values (storage, configuration).
[[nodiscard]] Result<std::shared_ptr<LimiterBackend>> open_shared_host(const std::string& path,
                                                                       const QuotaOptions& options);

/// Levels, state and waiting calls of a quota that is in use, for looking; takes no part in it.
/// Errors: as above, and not_found.
struct SharedHostSnapshot {
  KeySnapshot key{};
  std::string quota{};  ///< As describe() says it.
};
[[nodiscard]] Result<SharedHostSnapshot> snapshot_of_shared_host(const std::string& path,
                                                                 Instant now);

}  // namespace moderato
