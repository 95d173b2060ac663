// What several sources told of the same things, side by side: plain values, and an HTML page that needs nothing else (as html.h).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::reports {

/// A place where the sources do not all have the same, with what each of them has.
struct ComparedPlace {
  std::string path;
  std::vector<std::string> values;
};

struct ComparedItem {
  std::string title;
  std::vector<std::string> told;      ///< by each source, in short
  std::vector<ComparedPlace> places;  ///< empty: all sources have the same
};

struct ComparedChapter {
  std::string title;
  std::vector<ComparedItem> items;
};

struct Comparison {
  std::string name;
  std::string command;  ///< that makes the page again
  std::string started;  ///< UTC, as text
  std::string machine;
  std::vector<std::string> sources;
  std::vector<ComparedChapter> chapters;

  std::size_t items() const;
  std::size_t items_that_differ() const;
};

/// Smaller than html_bytes_max: chapters in which nothing differs are left out first, and the page says how many. Links: #chapter-2, #item-2-5.
std::string comparison_html(const Comparison& comparison);

}  // namespace holdfast::reports
