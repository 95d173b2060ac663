// Short ways through the doors for tests.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "impl/port/env.h"

namespace holdfast::sim {

/// The value, or an exception with the error's text: the rank ends as `threw`.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(fmt::format("{}", result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline port::WritePiece piece(std::string_view text, std::uint64_t offset = 0) {
  auto owner = std::make_shared<const Bytes>(to_bytes(as_bytes(text)));
  return {offset, *owner, owner};
}

/// Creates, writes, syncs and closes; the first error.
inline Status try_store(const port::Env& env, std::string_view path, std::string_view text) {
  const port::Deadline deadline = env.clock.after(std::chrono::seconds(10));
  const port::FileId file = TRY(env.storage.create(path, deadline));
  const port::WritePiece whole = piece(text);
  Status done = env.storage.write_all(file, {&whole, 1}, deadline);
  if (done) done = env.storage.sync(file, deadline);
  const Status closed = env.storage.close(file);
  return done ? closed : done;
}
inline void store(const port::Env& env, std::string_view path, std::string_view text) { must(try_store(env, path, text)); }

/// The file's bytes, or the first error.
inline Result<std::string> try_load(const port::Env& env, std::string_view path) {
  const port::Deadline deadline = env.clock.after(std::chrono::seconds(10));
  const port::FileId file = TRY(env.storage.open(path, deadline));
  const auto bytes = std::make_shared<Bytes>();
  const Result<std::uint64_t> size = env.storage.size(file, deadline);
  Status done = size ? Status{} : Status(fail(size.error()));
  if (done) {
    bytes->resize(*size);
    const port::ReadPiece whole{0, *bytes, bytes};
    done = env.storage.read_all(file, {&whole, 1}, deadline);
  }
  const Status closed = env.storage.close(file);
  TRY(done);
  TRY(closed);
  return std::string(as_text(*bytes));
}

}  // namespace holdfast::sim
