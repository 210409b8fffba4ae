#include "provider_server.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "provider_connection.hpp"

namespace moderato {

namespace asio = boost::asio;
using asio::ip::tcp;

class ProviderServer::State {
 public:
  explicit State(ProviderServerOptions options)
      : service_(std::make_shared<ProviderService>(std::move(options))), acceptor_(io_) {
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), service_->options.port);
    boost::system::error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(4096, error);
    if (error) {
      throw std::runtime_error(fmt::format("the provider cannot listen on port {}: {}",
                                           endpoint.port(), error.message()));
    }
    port_ = acceptor_.local_endpoint().port();
    accept();
    thread_ = std::thread([this] { io_.run(); });
  }

  ~State() {
    io_.stop();
    thread_.join();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] ProviderService& service() noexcept { return *service_; }

  /// The counts of connections belong to the server's thread.
  [[nodiscard]] Json stats_json() {
    std::promise<Json> promise;
    asio::post(io_, [&] { promise.set_value(service_->stats()); });
    return promise.get_future().get();
  }

  std::promise<void> stopped;
  std::once_flag stop_once;

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (!error) {
        std::make_shared<ProviderConnection>(std::move(socket), service_)->start();
      } else if (error == asio::error::operation_aborted) {
        return;
      }
      accept();
    });
  }

  // Declared before the io_context: handlers that it destroys at its end still use the service.
  std::shared_ptr<ProviderService> service_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

ProviderServer::ProviderServer(ProviderServerOptions options)
    : state_(std::make_shared<State>(std::move(options))) {}
ProviderServer::~ProviderServer() = default;

std::uint16_t ProviderServer::port() const noexcept { return state_->port(); }
std::string ProviderServer::base_url() const { return fmt::format("http://127.0.0.1:{}/v1", port()); }
SimulatedStats ProviderServer::stats() const { return state_->service().engine.stats(); }
Json ProviderServer::stats_json() const { return state_->stats_json(); }

void ProviderServer::wait() { state_->stopped.get_future().wait(); }
void ProviderServer::stop() {
  std::call_once(state_->stop_once, [this] { state_->stopped.set_value(); });
}

}  // namespace moderato
