#include "support/tls_server.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

namespace moderato::test {
namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;

Certificate sign_for_loopback(EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509* x509 = certificate.get();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, key);
  X509_NAME* name = X509_get_subject_name(x509);
  const auto* common_name = reinterpret_cast<const unsigned char*>("127.0.0.1");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(x509, name);
  X509_EXTENSION* host =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(x509, host, -1);
  X509_EXTENSION_free(host);
  if (X509_sign(x509, key, EVP_sha256()) == 0) throw std::runtime_error("signing failed");
  return certificate;
}

class TlsStream final : public ByteStream {
 public:
  explicit TlsStream(SSL* ssl) : ssl_(ssl) {}
  ~TlsStream() override {
    SSL_shutdown(ssl_);
    SSL_free(ssl_);
  }
  long read(char* to, std::size_t size) override {
    return SSL_read(ssl_, to, static_cast<int>(size));
  }
  bool write(std::string_view bytes) override {
    return SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) > 0;
  }

 private:
  SSL* ssl_;
};

int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* size,
                    const unsigned char* offered, unsigned offered_size, void* wanted) {
  const std::string& ours = *static_cast<std::string*>(wanted);
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

struct SelfSigned::Context {
  std::string protocol;
  std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>> ssl{SSL_CTX_new(TLS_server_method())};
};

SelfSigned::SelfSigned(std::string protocol) : context_(std::make_unique<Context>()) {
  context_->protocol = static_cast<char>(protocol.size()) + protocol;
  if (!protocol.empty()) {
    SSL_CTX_set_alpn_select_cb(context_->ssl.get(), &choose_protocol, &context_->protocol);
  }
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate = sign_for_loopback(key.get());
  SSL_CTX_use_certificate(context_->ssl.get(), certificate.get());
  SSL_CTX_use_PrivateKey(context_->ssl.get(), key.get());

  std::string path = "/tmp/moderato-test-XXXXXX";
  const int fd = mkstemp(path.data());
  std::FILE* file = fd < 0 ? nullptr : fdopen(fd, "w");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  PEM_write_X509(file, certificate.get());
  std::fclose(file);
  ca_file_ = path;
}

SelfSigned::~SelfSigned() {
  unlink(ca_file_.c_str());
}

ScriptedServer::MakeStream SelfSigned::make_stream() {
  return [context = context_->ssl.get()](int fd) -> std::unique_ptr<ByteStream> {
    sigset_t broken_pipe;  // OpenSSL writes without MSG_NOSIGNAL.
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) return std::make_unique<TlsStream>(ssl);
    SSL_free(ssl);
    return nullptr;
  };
}

}  // namespace moderato::test
