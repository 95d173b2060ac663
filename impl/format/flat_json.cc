#include "impl/format/flat_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace holdfast::format {
namespace {

/// The callbacks of nlohmann's SAX parser, which keeps no tree and does not recurse. A callback that returns false ends the parse.
class Handler {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  bool null() { return refuse("null"); }
  bool boolean(bool) { return refuse("a boolean"); }
  bool number_integer(number_integer_t value) { return refuse(fmt::format("the negative number {}", value)); }
  bool number_float(number_float_t, const string_t& text) { return refuse(fmt::format("the number {}", text)); }
  bool binary(binary_t&) { return refuse("binary data"); }
  bool number_unsigned(number_unsigned_t value) {
    if (!in_list_) return refuse(fmt::format("the number {}", value));
    field().list.push_back(value);
    return true;
  }
  bool string(string_t& text) {
    if (depth_ != 2 || in_list_) return refuse("a string");
    field().text = std::move(text);
    return true;
  }
  bool start_object(std::size_t) {
    if (depth_ == 2) return refuse("an object");
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) {
    if (depth_ != 2 || in_list_) return refuse("a list");
    in_list_ = field().is_list = true;
    return true;
  }
  bool end_array() {
    in_list_ = false;
    return true;
  }
  bool key(string_t& text) {
    if (depth_ == 1) {
      objects_.push_back({std::move(text), {}});
      return true;
    }
    if (objects_.back().find(text)) {
      problem_ = fmt::format("\"{}\" of \"{}\" stands there twice", text, objects_.back().name);
      return false;
    }
    objects_.back().fields.push_back({std::move(text), false, {}, {}});
    return true;
  }
  template <typename Exception>
  bool parse_error(std::size_t position, const std::string&, const Exception&) {
    problem_ = fmt::format("no JSON at byte {}", position);
    return false;
  }

  std::string& problem() { return problem_; }
  std::vector<FlatObject>& objects() { return objects_; }

 private:
  FlatField& field() { return objects_.back().fields.back(); }
  bool refuse(std::string_view found) {
    problem_ = depth_ == 0 || objects_.empty() ? fmt::format("{} where an object is expected", found)
               : depth_ == 1                   ? fmt::format("\"{}\" is {}, expected an object", objects_.back().name, found)
               : in_list_ ? fmt::format("\"{}\" of \"{}\" holds {}, expected unsigned integers", field().key, objects_.back().name, found)
                          : fmt::format("\"{}\" of \"{}\" is {}, expected a string or a list", field().key, objects_.back().name, found);
    return false;
  }

  int depth_ = 0;
  bool in_list_ = false;
  std::vector<FlatObject> objects_;
  std::string problem_;
};

}  // namespace

const FlatField* FlatObject::find(std::string_view key) const {
  const auto found = std::ranges::find(fields, key, &FlatField::key);
  return found == fields.end() ? nullptr : &*found;
}

Result<std::vector<FlatObject>> parse_flat_json(std::string_view json, std::string_view what) {
  Handler handler;
  if (!nlohmann::json::sax_parse(json, &handler)) return fail(ErrorCode::corrupt, "{}: {}", what, handler.problem());
  std::vector<std::string_view> names;
  for (const FlatObject& object : handler.objects()) names.push_back(object.name);
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return fail(ErrorCode::corrupt, "{}: \"{}\" stands there twice", what, *twice);
  }
  return std::move(handler.objects());
}

}  // namespace holdfast::format
