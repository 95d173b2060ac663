#include "impl/spec/json.h"

namespace holdfast::spec {
namespace {

using Json = nlohmann::json;

constexpr std::size_t shown_max = 60;  // bytes of a wrong value that a message repeats
constexpr std::int64_t number_max = std::int64_t{1} << 62;

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= shown_max ? text : text.substr(0, shown_max) + "...";
}

bool is_number(const Json& value, std::int64_t least) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(number_max)) &&
         value.get<std::int64_t>() >= least;
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, std::string_view where) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) return fail(ErrorCode::invalid_argument, "{}: it is not JSON", where);
  return json;
}

tl::unexpected<Error> JsonAt::wrong(const char* key, std::string_view expected) const {
  if (!json_->is_object()) return fail(ErrorCode::invalid_argument, "{} is {}; expected an object", where_, shown(*json_));
  const auto member = json_->find(key);
  if (member == json_->end()) return fail(ErrorCode::invalid_argument, "{}: it has no \"{}\"; expected {}", where_, key, expected);
  return fail(ErrorCode::invalid_argument, "{}: \"{}\" is {}; expected {}", where_, key, shown(*member), expected);
}

Result<JsonAt> JsonAt::at(const char* key) const {
  if (!has(key)) return wrong(key, "it to be there");
  return JsonAt((*json_)[key], where_);
}

Result<std::string> JsonAt::text(const char* key) const {
  if (!has(key) || !(*json_)[key].is_string()) return wrong(key, "a text");
  return (*json_)[key].get<std::string>();
}

Result<std::int64_t> JsonAt::number(const char* key, std::int64_t least) const {
  if (!has(key) || !is_number((*json_)[key], least)) return wrong(key, fmt::format("an integer from {}", least));
  return (*json_)[key].get<std::int64_t>();
}

Result<DType> JsonAt::dtype(const char* key) const {
  const std::string name = TRY(text(key));
  const auto known = dtype_from_string(name);
  if (!known) return fail(ErrorCode::unsupported, "{}: unknown dtype \"{}\"", where_, name);
  return *known;
}

Result<std::vector<JsonAt>> JsonAt::list(const char* key, std::string_view what) const {
  if (!has(key) || !(*json_)[key].is_array()) return wrong(key, "a list");
  std::vector<JsonAt> entries;
  for (const Json& entry : (*json_)[key]) entries.emplace_back(entry, fmt::format("{}: {} {}", where_, what, entries.size()));
  return entries;
}

Result<std::vector<std::int64_t>> JsonAt::numbers(const char* key, std::int64_t least) const {
  const auto expected = [&] { return wrong(key, fmt::format("a list of integers from {}", least)); };
  if (!has(key) || !(*json_)[key].is_array()) return expected();
  std::vector<std::int64_t> values;
  for (const Json& entry : (*json_)[key]) {
    if (!is_number(entry, least)) return expected();
    values.push_back(entry.get<std::int64_t>());
  }
  return values;
}

Result<std::vector<std::string>> JsonAt::texts(const char* key) const {
  if (!has(key) || !(*json_)[key].is_array()) return wrong(key, "a list of texts");
  std::vector<std::string> values;
  for (const Json& entry : (*json_)[key]) {
    if (!entry.is_string()) return wrong(key, "a list of texts");
    values.push_back(entry.get<std::string>());
  }
  return values;
}

}  // namespace holdfast::spec
