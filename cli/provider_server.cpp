#include "provider_server.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>

#include "provider_connection.hpp"

namespace moderato {

namespace asio = boost::asio;
using asio::ip::tcp;

class ProviderServer::State {
 public:
  explicit State(ProviderServerOptions options)
      : service_(std::make_shared<ProviderService>(std::move(options))) {
    listen(service_->options.port);
    accept();
    thread_ = std::thread([this] { io_->run(); });
  }

  ~State() { stop(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] const SimulatedEngine& engine() const noexcept { return service_->engine; }

  void stop() {
    if (!thread_.joinable()) return;
    io_->stop();
    thread_.join();
    retry_.reset();
    acceptor_.reset();
    io_.reset();  // what waits there owns the connections
  }

  /// The counts of connections belong to the server's thread.
  [[nodiscard]] Json stats_json() {
    if (!thread_.joinable()) return service_->stats();
    std::promise<Json> counts;
    asio::post(*io_, [&] { counts.set_value(service_->stats()); });
    return counts.get_future().get();
  }

 private:
  void listen(std::uint16_t port) {
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
    boost::system::error_code error;
    acceptor_.emplace(*io_);
    acceptor_->open(endpoint.protocol(), error);
    if (!error) acceptor_->set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_->bind(endpoint, error);
    if (!error) acceptor_->listen(4096, error);
    if (error) {
      throw std::runtime_error(
          fmt::format("the provider cannot listen on port {}: {}", port, error.message()));
    }
    port_ = acceptor_->local_endpoint().port();
  }

  void accept() {
    acceptor_->async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (!error) std::make_shared<ProviderConnection>(std::move(socket), service_)->start();
      if (error == asio::error::no_descriptors) return accept_later();
      accept();
    });
  }
  /// Out of descriptors: a loop of failing accepts would take the time in which others could close.
  void accept_later() {
    retry_.emplace(*io_, std::chrono::milliseconds(10));
    retry_->async_wait([this](boost::system::error_code) { accept(); });
  }

  std::shared_ptr<ProviderService> service_;
  std::optional<asio::io_context> io_{std::in_place, 1};
  std::optional<tcp::acceptor> acceptor_;
  std::optional<asio::steady_timer> retry_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

ProviderServer::ProviderServer(ProviderServerOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
ProviderServer::~ProviderServer() = default;

std::uint16_t ProviderServer::port() const noexcept {
  return state_->port();
}
std::string ProviderServer::base_url() const {
  return fmt::format("http://127.0.0.1:{}/v1", port());
}
SimulatedStats ProviderServer::stats() const {
  return state_->engine().stats();
}
Json ProviderServer::stats_json() const {
  return state_->stats_json();
}

void ProviderServer::stop() {
  state_->stop();
}

}  // namespace moderato
