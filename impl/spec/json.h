// Reads a JSON document member by member. Every error says where: `meshes "m.json": mesh 3: "ranks" is "eight"; expected a number from 1`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/dtype.h"
#include "impl/core/error.h"

namespace holdfast::spec {

/// A value of a document, and where it stands. The document must outlive it.
class JsonAt {
 public:
  JsonAt(const nlohmann::json& json, std::string where) : json_(&json), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  const nlohmann::json& json() const { return *json_; }
  /// The same value, its place told with `name`.
  JsonAt named(std::string where) const { return {*json_, std::move(where)}; }

  bool has(const char* key) const { return json_->is_object() && json_->contains(key); }
  Result<JsonAt> at(const char* key) const;
  Result<std::string> text(const char* key) const;
  Result<std::int64_t> number(const char* key, std::int64_t least) const;
  Result<DType> dtype(const char* key) const;
  /// The elements of a list, each named by its number: "<where>: <what> 3".
  Result<std::vector<JsonAt>> list(const char* key, std::string_view what) const;
  Result<std::vector<std::int64_t>> numbers(const char* key, std::int64_t least) const;
  Result<std::vector<std::string>> texts(const char* key) const;

  /// `<where>: "<key>" is <what it is>; expected <expected>`.
  tl::unexpected<Error> wrong(const char* key, std::string_view expected) const;

 private:
  const nlohmann::json* json_;
  std::string where_;
};

/// Errors: invalid_argument: `<where>: it is not JSON`.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view where);

}  // namespace holdfast::spec
