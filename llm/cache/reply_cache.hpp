#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// Keeps replies, so that a request that was answered once is not paid for again. A request is its
/// text: the model's name, all messages with all of their members, tools and settings; who asks,
/// by which URL and with which key is no part of it. A cached reply waits for no quota, is charged
/// to no budget, counts as no call, and leaves a record with `cached` in the ledger. Failures are
/// not kept.
///
/// Implementations are thread safe and do not block for long: they are called on event loops. An
/// error is reported (a Warning event), and the model is asked as without a cache.
class ReplyCache {
 public:
  virtual ~ReplyCache() = default;
  [[nodiscard]] virtual Result<std::optional<ModelReply>> find(std::string_view request) = 0;
  /// An older reply to the same request is replaced.
  virtual Result<void> keep(std::string_view request, const ModelReply& reply) = 0;
};

struct MemoryCacheOptions {
  std::size_t max_replies = 10'000;  ///< ≥ 1. Beyond that the one used longest ago is dropped.
};

/// For one process.
[[nodiscard]] std::shared_ptr<ReplyCache> memory_cache(MemoryCacheOptions options = {});

struct SqliteCacheOptions {
  std::string path{};  ///< Made if it is not there (beside it: -wal, -shm).
  /// Names one of many caches in the file: another seed, other replies.
  std::int64_t cache_seed = 0;
  /// Of the whole file, ≥ 1. Beyond that the one kept longest ago is dropped.
  std::int64_t max_replies = 100'000;
  /// How long a call waits for other processes that write to the file, and blocks its loop.
  Duration busy_timeout = std::chrono::milliseconds(100);
};

/// For any number of processes of one host, and for the next run. Errors: storage; configuration
/// (max_replies).
[[nodiscard]] Result<std::shared_ptr<ReplyCache>> sqlite_cache(SqliteCacheOptions options);

}  // namespace moderato
