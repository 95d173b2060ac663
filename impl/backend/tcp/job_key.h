// What the processes of a job prove to each other when they connect: that they know its secret. HMAC-SHA-256, by OpenSSL.
#pragma once

#include <array>
#include <string_view>

#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast::backend {

using Nonce = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;

class JobKey {
 public:
  /// The key of one job: other jobs with the same secret have another. An empty secret leaves a key that whoever knows the job id can make.
  /// Errors: unsupported when OpenSSL refuses.
  static Result<JobKey> make(std::string_view secret, std::string_view job_id);

  /// Errors: unsupported when OpenSSL refuses.
  Result<Proof> prove(ByteView message) const;
  /// Whether `proof` is that of `message`; takes the same time for every wrong one.
  Result<bool> holds(ByteView proof, ByteView message) const;

 private:
  explicit JobKey(const Proof& key) : key_(key) {}
  Proof key_;
};

/// 32 bytes that nobody can foresee. Errors: unsupported when the system has no random numbers.
Result<Nonce> fresh_nonce();

}  // namespace holdfast::backend
