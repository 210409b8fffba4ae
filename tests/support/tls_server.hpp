#pragma once

#include <memory>
#include <string>

#include "support/scripted_server.hpp"

namespace moderato::test {

/// A key and a certificate for 127.0.0.1, signed by itself and made when the test runs.
class SelfSigned {
 public:
  /// `protocol`: what is chosen of the client's ALPN offer ("h2"); empty: nothing.
  explicit SelfSigned(std::string protocol = "");
  ~SelfSigned();  ///< Removes the file.
  SelfSigned(const SelfSigned&) = delete;
  SelfSigned& operator=(const SelfSigned&) = delete;

  /// The certificate as a PEM file: what a client has to trust.
  [[nodiscard]] const std::string& ca_file() const noexcept { return ca_file_; }
  /// Makes TLS connections for a ScriptedServer; must not outlive this object.
  [[nodiscard]] ScriptedServer::MakeStream make_stream();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  std::string ca_file_;
};

/// A ScriptedServer that speaks https.
struct TlsServer {
  explicit TlsServer(ScriptedServer::Script script, std::string protocol = "")
      : certificate(std::move(protocol)),
        server(std::move(script), certificate.make_stream(), "https") {}
  SelfSigned certificate;
  ScriptedServer server;
};

}  // namespace moderato::test
