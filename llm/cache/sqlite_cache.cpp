#include <fmt/format.h>

#include <mutex>

#include <moderato/core/journal/sqlite_file.hpp>
#include <moderato/llm/cache/reply_cache.hpp>
#include <moderato/llm/model_effect.hpp>

namespace moderato {
namespace {

// A cache that loses its last entries with the power is still one, so nothing is flushed.
constexpr const char* settings = "PRAGMA synchronous=NORMAL";
// The newest reply has the highest number: the oldest are found without a look at the rest.
constexpr const char* table =
    "CREATE TABLE IF NOT EXISTS moderato_cache("
    " number INTEGER PRIMARY KEY, seed INTEGER NOT NULL, request TEXT NOT NULL,"
    " reply TEXT NOT NULL, UNIQUE(seed, request))";

class SqliteCache final : public ReplyCache {
 public:
  explicit SqliteCache(SqliteCacheOptions options) : options_(std::move(options)) {}

  Result<void> open() {
    auto file =
        SqliteFile::open(options_.path, SqliteFile::Access::read_write, options_.busy_timeout);
    if (!file) return tl::unexpected<Error>(std::move(file).error());
    file_ = std::move(*file);
    if (auto changed = file_->use_write_ahead_log(); !changed) return changed;
    for (const char* statement : {settings, table}) {
      if (auto done = file_->execute(statement); !done) return done;
    }
    return prepare();
  }

  Result<std::optional<ModelReply>> find(std::string_view request) override {
    const std::scoped_lock lock(mutex_);
    auto row = find_.bind(1, options_.cache_seed).bind(2, request).step();
    if (!row || !*row) {
      find_.reset();
      if (!row) return tl::unexpected<Error>(std::move(row).error());
      return std::optional<ModelReply>();
    }
    const Json json = Json::parse(find_.text(0), nullptr, false);
    find_.reset();
    Result<ModelReply> reply = fail(ErrorCode::storage, "it is no JSON");
    if (!json.is_discarded()) reply = decode_reply(json);
    if (!reply) {
      return fail(ErrorCode::storage,
                  fmt::format("a reply in the cache \"{}\" cannot be read ({}); delete the file",
                              options_.path, reply.error().message));
    }
    return std::optional(std::move(*reply));
  }

  Result<void> keep(std::string_view request, const ModelReply& reply) override {
    const std::string text =
        encode_reply(reply).dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::scoped_lock lock(mutex_);
    auto kept = keep_.bind(1, options_.cache_seed).bind(2, request).bind(3, text).run();
    if (!kept) return kept;
    return drop_.bind(1, options_.max_replies).run();
  }

 private:
  Result<void> prepare() {
    struct Wanted {
      SqliteStatement& statement;
      const char* sql;
    };
    for (const Wanted& wanted :
         {Wanted{find_, "SELECT reply FROM moderato_cache WHERE seed = ?1 AND request = ?2"},
          Wanted{keep_,
                 "INSERT OR REPLACE INTO moderato_cache(seed, request, reply) VALUES(?1, ?2, ?3)"},
          Wanted{drop_,
                 "DELETE FROM moderato_cache WHERE number <= "
                 "(SELECT max(number) FROM moderato_cache) - ?1"}}) {
      auto made = file_->prepare(wanted.sql);
      if (!made) return tl::unexpected<Error>(std::move(made).error());
      wanted.statement = std::move(*made);
    }
    return {};
  }

  const SqliteCacheOptions options_;
  std::mutex mutex_;
  std::unique_ptr<SqliteFile> file_;
  SqliteStatement find_;  // after the file: statements end before it
  SqliteStatement keep_;
  SqliteStatement drop_;
};

}  // namespace

Result<std::shared_ptr<ReplyCache>> sqlite_cache(SqliteCacheOptions options) {
  if (options.max_replies < 1) {
    return fail(ErrorCode::configuration, "sqlite_cache: max_replies must be at least 1");
  }
  auto cache = std::make_shared<SqliteCache>(std::move(options));
  if (auto opened = cache->open(); !opened) {
    return tl::unexpected<Error>(std::move(opened).error());
  }
  return std::shared_ptr<ReplyCache>(std::move(cache));
}

}  // namespace moderato
