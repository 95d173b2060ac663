#include "impl/backend/tcp/job_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

const unsigned char* data_of(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

Result<Proof> hmac(ByteView key, ByteView message) {
  Proof proof;
  unsigned size = 0;
  // A null key would mean "the one of before" to OpenSSL.
  const void* const key_data = key.empty() ? static_cast<const void*>("") : key.data();
  if (!HMAC(EVP_sha256(), key_data, static_cast<int>(key.size()), data_of(message), message.size(),
            reinterpret_cast<unsigned char*>(proof.data()), &size) ||
      size != proof.size()) {
    return fail(ErrorCode::unsupported, "compute an HMAC-SHA-256: OpenSSL refuses");
  }
  return proof;
}

}  // namespace

Result<JobKey> JobKey::make(std::string_view secret, std::string_view job_id) {
  const Proof key = TRY(hmac(as_bytes(secret), as_bytes(fmt::format("holdfast job {}", job_id))));
  return JobKey(key);
}

Result<Proof> JobKey::prove(ByteView message) const { return hmac(key_, message); }

Result<bool> JobKey::holds(ByteView proof, ByteView message) const {
  const Proof expected = TRY(prove(message));
  return proof.size() == expected.size() && CRYPTO_memcmp(proof.data(), expected.data(), expected.size()) == 0;
}

Result<Nonce> fresh_nonce() {
  Nonce nonce{};
  const bool drawn = MUTATE("tcp.nonce_constant", RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), nonce.size()) == 1, true);
  if (!drawn) return fail(ErrorCode::unsupported, "draw random bytes: OpenSSL has none");
  return nonce;
}

}  // namespace holdfast::backend
