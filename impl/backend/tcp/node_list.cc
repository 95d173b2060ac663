#include "impl/backend/tcp/node_list.h"

#include <cctype>
#include <charconv>

namespace holdfast::backend {
namespace {

/// list = name ("," name)*;  name = (letter | "[" range ("," range)* "]")+;  range = number ("-" number)?
class NodeListReader {
 public:
  explicit NodeListReader(std::string_view list) : list_(list) {}

  Result<std::string> first() {
    std::string first = TRY(name());
    while (take(',')) TRY(name());
    if (at_ != list_.size()) return wrong("a comma or the end");
    return first;
  }

 private:
  /// The first of the names that it stands for.
  Result<std::string> name() {
    std::string first;
    while (at_ < list_.size()) {
      if (take('[')) {
        first += TRY(ranges());
      } else if (const char next = list_[at_];
                 std::isalnum(static_cast<unsigned char>(next)) || next == '-' || next == '.' || next == '_') {
        first += next;
        ++at_;
      } else {
        break;
      }
    }
    if (first.empty()) return wrong("a host name");
    return first;
  }

  Result<std::string> ranges() {
    const std::string_view first = TRY(range());
    while (take(',')) TRY(range());
    if (!take(']')) return wrong("a comma or ]");
    return std::string(first);
  }

  Result<std::string_view> range() {
    const std::string_view low = TRY(number());
    if (!take('-')) return low;
    const std::size_t begin = at_;
    const std::string_view high = TRY(number());
    if (value(high) >= value(low)) return low;
    at_ = begin;
    return wrong(fmt::format("a number of at least {}", low));
  }

  Result<std::string_view> number() {
    const std::size_t begin = at_;
    while (at_ < list_.size() && list_[at_] >= '0' && list_[at_] <= '9' && at_ - begin < 18) ++at_;
    if (at_ == begin) return wrong("a number");
    return list_.substr(begin, at_ - begin);
  }

  static std::uint64_t value(std::string_view digits) {
    std::uint64_t result = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), result);
    return result;
  }
  bool take(char wanted) {
    if (at_ == list_.size() || list_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  tl::unexpected<Error> wrong(std::string_view expected) const {
    return fail(ErrorCode::invalid_argument, "node list \"{}\": expected {} at character {}", list_, expected, at_ + 1);
  }

  std::string_view list_;
  std::size_t at_ = 0;
};

}  // namespace

Result<std::string> first_node(std::string_view list) { return NodeListReader(list).first(); }

}  // namespace holdfast::backend
