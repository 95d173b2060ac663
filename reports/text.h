// Words and numbers for people: escaping for XML and DOT, byte counts, rank ranges, families of tensor names.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::reports {

/// At most `length_max` code points, the cut shown as "…" in the middle, where names differ least. Control characters become spaces and
/// bytes that are no UTF-8 become U+FFFD, so that any name can stand in any document.
std::string clip(std::string_view text, std::size_t length_max);
/// As `clip` without a limit.
std::string printable(std::string_view text);

/// `printable`, then & < > " ' as entities: for XML, SVG and HTML, in text as in attributes, and for DOT's HTML-like labels.
std::string escape_xml(std::string_view text);

/// "0 B", "4.00 KiB", "1.87 GiB": three significant digits, binary units.
std::string human_bytes(std::uint64_t bytes);
/// The text up to its first line's end: what can stand in one line.
std::string_view first_line(std::string_view text);
/// What follows first_line, without the end of that line; empty when there is nothing.
std::string_view other_lines(std::string_view text);

/// "1,024".
std::string grouped(std::uint64_t value);
/// "1 file", "1,024 files".
std::string counted(std::uint64_t value, std::string_view noun);
/// "×3.40", "×12".
std::string ratio(double value);
/// "830 ns", "12.4 ms", "3.20 s".
std::string human_time(std::int64_t nanoseconds);

/// "0–63", "0–3, 8, 12–15"; after `ranges_max` ranges "… (+12 ranges)". `ranks` ascending.
std::string rank_ranges(std::span<const std::size_t> ranks, std::size_t ranges_max = 6);
/// "rank 3" or "ranks 0–63".
std::string rank_title(std::span<const std::size_t> ranks);

/// The name with every number between dots replaced by "*": "layers.*.mlp.up_proj.weight". Tensors of one family are drawn as one row.
std::string family(std::string_view name);

/// Glob with * and ?, over the whole text.
bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace holdfast::reports
