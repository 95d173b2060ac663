#include "reports/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace holdfast::reports {
namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";
constexpr std::string_view ellipsis = "\xE2\x80\xA6";

/// Bytes of the well-formed UTF-8 sequence that `text` starts with; 0 when there is none.
std::size_t sequence_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  std::uint32_t point = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0) != 0x80) return 0;
    point = point << 6 | (next & 0x3Fu);
  }
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  // Surrogates and the two non-characters are no XML characters.
  const bool forbidden = (point >= 0xD800 && point < 0xE000) || point > 0x10FFFF || (point & 0xFFFE) == 0xFFFE;
  return overlong || forbidden ? 0 : length;
}

/// The text as a list of code points, each a string that any document can hold.
std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> points;
  points.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    const bool c1_control = length == 2 && byte == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if (length == 0) {
      points.push_back(replacement_character);
    } else if (byte < 0x20 || byte == 0x7F || c1_control) {
      points.push_back(" ");
    } else {
      points.push_back(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return points;
}

std::string three_digits(double value) {
  return value < 9.995 ? fmt::format("{:.2f}", value) : value < 99.95 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string clip(std::string_view text, std::size_t length_max) {
  const std::vector<std::string_view> points = code_points(text);
  const bool whole = points.size() <= length_max;
  const std::size_t head = whole ? points.size() : length_max / 2;
  const std::size_t tail = whole ? 0 : length_max - head - std::min<std::size_t>(1, length_max - head);
  std::string out;
  for (std::size_t i = 0; i < head; ++i) out += points[i];
  if (!whole) out += ellipsis;
  for (std::size_t i = points.size() - tail; i < points.size(); ++i) out += points[i];
  return out;
}

std::string printable(std::string_view text) { return clip(text, text.size()); }

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

std::string_view other_lines(std::string_view text) {
  const std::size_t end = text.find('\n');
  return end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
}

std::string escape_xml(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", three_digits(value), units[unit]);
}

std::string grouped(std::uint64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string counted(std::uint64_t value, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(value), noun, value == 1 ? "" : "s");
}

std::string ratio(double value) { return value < 9.995 ? fmt::format("\xC3\x97{:.2f}", value) : fmt::format("\xC3\x97{:.0f}", value); }

std::string human_time(std::int64_t nanoseconds) {
  constexpr std::array<const char*, 4> units{"ns", "\xC2\xB5s", "ms", "s"};
  const auto magnitude = static_cast<double>(nanoseconds);
  if (std::abs(magnitude) < 1000) return fmt::format("{} ns", nanoseconds);
  double value = magnitude;
  std::size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}", three_digits(value), units[unit]);
}

std::string rank_ranges(std::span<const std::size_t> ranks, std::size_t ranges_max) {
  std::string out;
  std::size_t ranges = 0;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (ranges < ranges_max) {
      out += ranges == 0 ? "" : ", ";
      out += end - i == 1 ? fmt::format("{}", ranks[i]) : fmt::format("{}\xE2\x80\x93{}", ranks[i], ranks[end - 1]);
    }
    ++ranges;
    i = end;
  }
  if (ranges > ranges_max) out += fmt::format(" \xE2\x80\xA6 (+{} ranges)", ranges - ranges_max);
  return out;
}

std::string rank_title(std::span<const std::size_t> ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", rank_ranges(ranks));
}

std::string family(std::string_view name) {
  std::string out;
  while (true) {
    const std::size_t dot = name.find('.');
    const std::string_view part = name.substr(0, dot);
    out += all_digits(part) ? "*" : part;
    if (dot == std::string_view::npos) return out;
    out += '.';
    name.remove_prefix(dot + 1);
  }
}

bool matches_glob(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace holdfast::reports
