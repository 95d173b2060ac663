// What all our HTML pages have in common: the head that lets them fetch and run nothing, badges, the foot.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::reports {

/// `css_class`: good, bad or none. `words` are ours and stand as they are.
std::string html_badge(std::string_view css_class, std::string_view words);
/// The document up to its heading, inside <header><div>. `badge` is of html_badge.
std::string html_opening(std::string_view title, std::string_view badge);
/// A command to copy; nothing when it is empty.
std::string html_command(std::string_view command);
/// Collects "name value" facts for the line below the heading; those without a value are left out.
class HtmlFacts {
 public:
  void add(std::string_view name, std::string_view value);
  std::string html() const;

 private:
  std::string text_;
};
/// From the end of <main> on. `note` is HTML.
std::string html_closing(std::string_view note);

}  // namespace holdfast::reports
