#include "impl/protocol/key_report.h"

#include <algorithm>
#include <set>

#include "impl/core/mutate.h"
#include "impl/core/rank_values.h"

namespace holdfast::protocol {
namespace {

/// Ascending numbers as runs: the gap before each, and its length.
void encode_numbers(Encoder& out, const std::vector<std::uint64_t>& numbers) {
  Encoder runs;
  std::uint64_t count = 0;
  std::uint64_t at = 0;
  for (std::size_t begin = 0; begin < numbers.size(); ++count) {
    std::size_t end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    runs.varint(numbers[begin] - at);
    runs.varint(end - begin);
    at = numbers[end - 1] + 1;
    begin = end;
  }
  out.varint(count);
  out.raw(runs.bytes());
}

/// A run unfolds: `limit` is what the numbers must stay below.
Result<std::vector<std::uint64_t>> decode_numbers(Decoder& in, std::uint64_t limit) {
  std::vector<std::uint64_t> numbers;
  std::uint64_t at = 0;
  for (std::size_t runs = TRY(in.count(2)); runs > 0; --runs) {
    const std::uint64_t gap = TRY(in.varint());
    const std::uint64_t length = TRY(in.varint());
    if (gap > limit - at || length > limit - at - gap)
      return fail(ErrorCode::corrupt, "decode key notes: a key beyond the {} of the checkpoint", limit);
    at += gap;
    for (std::uint64_t i = 0; i < length; ++i) numbers.push_back(at++);
  }
  return numbers;
}

/// A key for people: values of single ranks under the name that they have in a state dict.
std::string told(const std::string& key) {
  const auto of_rank = parse_rank_value_key(key);
  return of_rank ? of_rank->name : key;
}

std::vector<std::string> sorted(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

std::vector<std::string> rule_texts(const KeyMap& keys, const KeyFilter& only) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < keys.size(); ++i) texts.push_back(keys.rule_text(i));
  std::ranges::copy(only.rule_texts(), std::back_inserter(texts));
  return texts;
}

}  // namespace

void encode(Encoder& out, const std::vector<std::string>& texts) {
  out.varint(texts.size());
  for (const std::string& text : texts) out.text(text);
}

Result<std::vector<std::string>> decode_texts(Decoder& in) {
  std::vector<std::string> texts;
  for (std::size_t left = TRY(in.count(1)); left > 0; --left) texts.push_back(TRY(in.text()));
  return texts;
}

void encode(Encoder& out, const std::vector<bool>& flags) {
  out.varint(flags.size());
  for (const bool flag : flags) out.u8(flag ? 1 : 0);
}

Result<std::vector<bool>> decode_flags(Decoder& in) {
  std::vector<bool> flags;
  for (std::size_t left = TRY(in.count(1)); left > 0; --left) flags.push_back(TRY(in.u8()) != 0);
  return flags;
}

void encode(Encoder& out, const KeyReport& report) {
  encode(out, report.missing);
  encode(out, report.unexpected);
  encode(out, report.unmatched);
}

Result<KeyReport> decode_key_report(Decoder& in) {
  KeyReport report;
  report.missing = TRY(decode_texts(in));
  report.unexpected = TRY(decode_texts(in));
  report.unmatched = TRY(decode_texts(in));
  return report;
}

void encode(Encoder& out, const KeyNotes& notes) {
  encode(out, notes.missing);
  encode_numbers(out, notes.unasked);
  encode(out, notes.used);
}

Result<KeyNotes> decode_key_notes(Decoder& in, std::uint64_t keys) {
  KeyNotes notes;
  notes.missing = TRY(decode_texts(in));
  notes.unasked = TRY(decode_numbers(in, keys));
  notes.used = TRY(decode_flags(in));
  return notes;
}

Result<KeyReport> add_up(const std::vector<KeyNotes>& notes, const Metadata& metadata, const KeyMap& keys, const KeyFilter& only) {
  const std::vector<std::string> rules = rule_texts(keys, only);
  std::set<std::string> missing;
  std::vector<std::size_t> unasked_by(metadata.entries.size(), 0);
  std::vector<bool> used(rules.size(), false);
  for (std::size_t rank = 0; rank < notes.size(); ++rank) {
    const KeyNotes& note = notes[rank];
    if (note.used.size() != rules.size())
      return fail(ErrorCode::corrupt, "keys of rank {}: {} rules, expected {}", rank, note.used.size(), rules.size());
    missing.insert(note.missing.begin(), note.missing.end());
    for (const std::uint64_t number : note.unasked) ++unasked_by[number];
    for (std::size_t i = 0; i < rules.size(); ++i) used[i] = used[i] || note.used[i];
  }
  std::set<std::string> unexpected;
  std::size_t number = 0;
  for (const auto& [key, entry] : metadata.entries) {
    const std::size_t ranks = unasked_by[number++];
    const bool nobody = MUTATE("load.unexpected_by_some_rank", ranks == notes.size(), ranks > 0);
    if (nobody && only.admits(told(key))) unexpected.insert(told(key));
  }
  KeyReport report{sorted(missing), sorted(unexpected), {}};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!used[i]) report.unmatched.push_back(rules[i]);
  }
  std::ranges::sort(report.unmatched);
  return report;
}

}  // namespace holdfast::protocol
