#include <moderato/llm/http/curl_transport.hpp>

#include <moderato/core/runtime_core.hpp>

namespace moderato {

CurlTransport::CurlTransport(Loop& loop)
    : clock_(loop.core().clock()), pump_(std::make_unique<CurlPump>(loop)) {}

CurlTransport::~CurlTransport() {
  shutdown();
}

void CurlTransport::shutdown() noexcept {
  free_.clear();
  handles_.clear();
  pump_.reset();
}

ConnectGate& CurlTransport::gate_of(std::string_view url) {
  const std::string_view origin = origin_of(url);
  const auto found = gates_.find(origin);
  return found != gates_.end() ? found->second : gates_[std::string(origin)];
}

CurlHandle& CurlTransport::take_handle() {
  if (free_.empty()) {
    handles_.push_back(pump_->make_handle());
    free_.reserve(handles_.size());
    return *handles_.back();
  }
  CurlHandle& handle = *free_.back();
  free_.pop_back();
  return handle;
}

void CurlTransport::give_back(CurlHandle& handle) noexcept {
  pump_->remove(handle);
  handle.clear();
  free_.push_back(&handle);
}

Result<void> CurlTransport::exchange(CurlHandle& handle, CurlTransfer& transfer) {
  if (Result<void> ready = handle.prepare(transfer); !ready) return ready;
  while (!transfer.may_connect()) {
    if (Result<void> waited = transfer.wait(); !waited) return waited;
  }
  if (Result<void> started = pump_->start(handle); !started) return started;
  for (;;) {
    if (Result<void> waited = transfer.wait(); !waited) return waited;
    if (Result<void> delivered = transfer.deliver(); !delivered) return delivered;
    if (transfer.take_dead_connection()) {
      handle.use_fresh_connection(true);
      if (Result<void> started = pump_->start(handle); !started) return started;
    } else if (transfer.finished()) {
      return std::move(transfer.result());
    } else if (transfer.take_paused()) {
      curl_easy_pause(handle.easy(), CURLPAUSE_CONT);
    }
  }
}

HttpOutcome CurlTransport::send(const HttpRequest& request) {
  /// Whatever happens, the handle leaves libcurl before the transfer's memory goes.
  struct Loan {
    CurlTransport& transport;
    CurlHandle& handle;
    ~Loan() { transport.give_back(handle); }
  };
  CurlTransfer transfer(request, clock_, gate_of(request.url));
  const Loan loan{*this, take_handle()};
  Result<void> result = exchange(loan.handle, transfer);
  return transfer.take_outcome(std::move(result), loan.handle.easy());
}

}  // namespace moderato
