#include <list>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include <moderato/llm/cache/reply_cache.hpp>

namespace moderato {
namespace {

class MemoryCache final : public ReplyCache {
 public:
  explicit MemoryCache(const MemoryCacheOptions& options) : options_(options) {}

  Result<std::optional<ModelReply>> find(std::string_view request) override {
    const std::scoped_lock lock(mutex_);
    const auto found = by_request_.find(request);
    if (found == by_request_.end()) return std::optional<ModelReply>();
    newest_first_.splice(newest_first_.begin(), newest_first_, found->second);
    return std::optional(found->second->reply);
  }

  Result<void> keep(std::string_view request, const ModelReply& reply) override {
    const std::scoped_lock lock(mutex_);
    if (const auto found = by_request_.find(request); found != by_request_.end()) {
      found->second->reply = reply;
      return {};
    }
    newest_first_.push_front({std::string(request), reply});
    by_request_.emplace(newest_first_.front().request, newest_first_.begin());
    if (newest_first_.size() > options_.max_replies) {
      by_request_.erase(newest_first_.back().request);
      newest_first_.pop_back();
    }
    return {};
  }

 private:
  struct Kept {
    std::string request;
    ModelReply reply;
  };

  const MemoryCacheOptions options_;
  std::mutex mutex_;
  std::list<Kept> newest_first_;
  std::unordered_map<std::string_view, std::list<Kept>::iterator> by_request_;
};

}  // namespace

std::shared_ptr<ReplyCache> memory_cache(MemoryCacheOptions options) {
  if (options.max_replies < 1) {
    throw std::invalid_argument("memory_cache: max_replies must be at least 1");
  }
  return std::make_shared<MemoryCache>(options);
}

}  // namespace moderato
