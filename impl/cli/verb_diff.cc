#include <algorithm>
#include <cstring>
#include <set>

#include "impl/cli/contents.h"
#include "impl/cli/verbs.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  std::string a;
  std::string b;
};

std::string text_of(const Dims& dims) { return to_string({dims.data(), dims.size()}); }

/// The bytes of an element as hexadecimal digits, the highest first, as a little-endian number is written.
std::string element_text(const Bytes& bytes, std::size_t element, std::uint32_t width) {
  std::string text = "0x";
  for (std::uint32_t byte = width; byte-- > 0;) text += fmt::format("{:02x}", static_cast<unsigned>(bytes[element * width + byte]));
  return text;
}

template <typename T>
std::string number_of(const std::byte* data) {
  T value{};
  std::memcpy(&value, data, sizeof value);
  return fmt::format("{}", value);
}

/// The value of an element and its bits, or its bits alone: "1.5 (0x3fc00000)".
std::string value_text(const Bytes& bytes, std::size_t element, DType dtype) {
  const std::byte* data = bytes.data() + element * size_bytes(dtype);
  const std::string bits = element_text(bytes, element, size_bytes(dtype));
  const auto with = [&](const std::string& number) { return fmt::format("{} ({})", number, bits); };
  switch (dtype) {
    case DType::u8: return with(number_of<std::uint8_t>(data));
    case DType::i8: return with(number_of<std::int8_t>(data));
    case DType::u16: return with(number_of<std::uint16_t>(data));
    case DType::i16: return with(number_of<std::int16_t>(data));
    case DType::u32: return with(number_of<std::uint32_t>(data));
    case DType::i32: return with(number_of<std::int32_t>(data));
    case DType::u64: return with(number_of<std::uint64_t>(data));
    case DType::i64: return with(number_of<std::int64_t>(data));
    case DType::f32: return with(number_of<float>(data));
    case DType::f64: return with(number_of<double>(data));
    case DType::bf16: {
      // The upper half of an F32.
      std::byte wide[4] = {std::byte{0}, std::byte{0}, data[0], data[1]};
      return with(number_of<float>(wide));
    }
    default: return bits;
  }
}

Dims index_of(std::size_t element, const Dims& shape) {
  Dims index(shape.size(), 0);
  auto rest = static_cast<std::int64_t>(element);
  for (std::size_t d = shape.size(); d-- > 0;) {
    index[d] = rest % shape[d];
    rest /= shape[d];
  }
  return index;
}

class Comparison {
 public:
  Comparison(Contents& a, Contents& b) : a_(a), b_(b) {}

  Status run() {
    std::set<std::string> names;
    for (const auto* side : {&a_, &b_}) {
      for (const auto& [name, tensor] : side->tensors()) names.insert(name);
      for (const auto& [name, value] : side->values()) names.insert(name);
    }
    for (const std::string& name : names) TRY(compare(name));
    return {};
  }

  Report report() const {
    Report report;
    for (const Json& difference : differences_) report.text += one_line(difference["text"].get<std::string>(), std::string::npos) + "\n";
    report.text += fmt::format("{} equal, {}\n", count_text(equal_, "key"), count_text(differences_.size(), "difference"));
    report.json = {{"a", a_.name()}, {"b", b_.name()}, {"equal", equal_}, {"differences", differences_}};
    if (differences_.empty()) return report;
    const std::string first = differences_[0]["text"];
    report.cause = differences_.size() == 1 ? first : fmt::format("{} differences; the first: {}", differences_.size(), first);
    return report;
  }

 private:
  void differs(const char* kind, const std::string& name, std::string text, Json more = Json::object()) {
    Json difference{{"kind", kind}, {"key", name}, {"text", fmt::format("\"{}\": {}", name, text)}};
    difference.update(more);
    differences_.push_back(std::move(difference));
  }

  Status compare(const std::string& name) {
    const auto a_tensor = a_.tensors().find(name), b_tensor = b_.tensors().find(name);
    const auto a_value = a_.values().find(name), b_value = b_.values().find(name);
    const bool a_is_tensor = a_tensor != a_.tensors().end(), b_is_tensor = b_tensor != b_.tensors().end();
    const bool in_a = a_is_tensor || a_value != a_.values().end(), in_b = b_is_tensor || b_value != b_.values().end();
    if (!in_a || !in_b) {
      differs("missing", name, fmt::format("only in {}", in_a ? "A" : "B"));
    } else if (a_is_tensor != b_is_tensor) {
      differs("kind", name,
              fmt::format("a {} in A, a {} in B", a_is_tensor ? "tensor" : "byte value", b_is_tensor ? "tensor" : "byte value"));
    } else if (a_is_tensor) {
      return compare_tensors(name, a_tensor->second, b_tensor->second);
    } else {
      return compare_values(name, a_value->second, b_value->second);
    }
    return {};
  }

  Status compare_tensors(const std::string& name, const Contents::Tensor& a, const Contents::Tensor& b) {
    if (a.dtype != b.dtype) {
      differs("dtype", name, fmt::format("{} in A, {} in B", to_string(a.dtype), to_string(b.dtype)));
    } else if (a.shape != b.shape) {
      differs("shape", name, fmt::format("{} in A, {} in B", text_of(a.shape), text_of(b.shape)));
    } else if (a.digest != b.digest) {
      return compare_elements(name, a.shape, a.dtype);
    } else {
      ++equal_;
    }
    return {};
  }

  Status compare_elements(const std::string& name, const Dims& shape, DType dtype) {
    const std::uint32_t width = size_bytes(dtype);
    const Bytes a = TRY(told(a_.read_tensor(name), a_));
    const Bytes b = TRY(told(b_.read_tensor(name), b_));
    std::size_t count = 0, first = 0;
    const std::size_t elements = std::min(a.size(), b.size()) / width;
    for (std::size_t element = 0; element < elements; ++element) {
      if (std::memcmp(a.data() + element * width, b.data() + element * width, width) == 0) continue;
      if (count++ == 0) first = element;
    }
    if (count == 0) {
      differs("digest", name, "the digests differ, the bytes do not: one of the two is damaged; see holdfast verify");
      return {};
    }
    const Dims at = index_of(first, shape);
    differs("values", name,
            fmt::format("{} of {} elements differ; the first at {}: {} in A, {} in B", count, elements, text_of(at),
                        value_text(a, first, dtype), value_text(b, first, dtype)),
            {{"elements", count}, {"first", std::vector<std::int64_t>(at.begin(), at.end())}});
    return {};
  }

  Status compare_values(const std::string& name, const Contents::Value& a, const Contents::Value& b) {
    if (a.bytes == b.bytes && a.digest == b.digest) {
      ++equal_;
      return {};
    }
    if (a.bytes != b.bytes) {
      differs("size", name, fmt::format("{} in A, {} in B", count_text(a.bytes, "byte"), count_text(b.bytes, "byte")));
      return {};
    }
    return compare_elements_of_value(name);
  }

  Status compare_elements_of_value(const std::string& name) {
    const Bytes a = TRY(told(a_.read_value(name), a_));
    const Bytes b = TRY(told(b_.read_value(name), b_));
    const auto first = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
    if (first == a.size()) {
      differs("digest", name, "the digests differ, the bytes do not: one of the two is damaged; see holdfast verify");
      return {};
    }
    differs("values", name, fmt::format("byte {}: {} in A, {} in B", first, element_text(a, first, 1), element_text(b, first, 1)),
            {{"first", {first}}});
    return {};
  }

  template <typename T>
  static Result<T> told(Result<T> result, const Contents& side) {
    if (!result) return fail(within(result.error(), "\"{}\"", side.name()));
    return result;
  }

  Contents& a_;
  Contents& b_;
  std::size_t equal_ = 0;
  std::vector<Json> differences_;
};

Result<Report> diff(const Arguments& arguments, const Console& console) {
  const std::unique_ptr<Contents> a = TRY(open_contents(arguments.a, console));
  const std::unique_ptr<Contents> b = TRY(open_contents(arguments.b, console));
  Comparison comparison(*a, *b);
  TRY(comparison.run());
  return comparison.report();
}

}  // namespace

void add_diff(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = add_verb(app, command, "diff", "Compare two checkpoints or safetensors files: keys, dtypes, shapes, values.",
                            "Example: holdfast diff checkpoints/step-1.a1 checkpoints/step-2.a2\n\n"
                            "How the two are cut over ranks does not matter: digests of tensors are layout-free. Data is read only where\n"
                            "digests differ, to name the first element. Exit 1: they differ.",
                            [arguments](const Console& console) { return diff(*arguments, console); });
  for (const auto& [name, path] : {std::pair{"A", &arguments->a}, std::pair{"B", &arguments->b}}) {
    verb->add_option(name, *path, "A checkpoint, a folder of them (its newest), or a safetensors file")->required();
  }
}

}  // namespace holdfast::cli
