#include "reports/html_page.h"

#include <fmt/format.h>

#include "reports/html_style.h"
#include "reports/text.h"

namespace holdfast::reports {

std::string html_badge(std::string_view css_class, std::string_view words) {
  return fmt::format("<span class=\"badge {}\">{}</span>", css_class, words);
}

std::string html_opening(std::string_view title, std::string_view badge) {
  // The policy forbids everything but the style in the page: no script runs and nothing is fetched, whatever a name in the report holds.
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
      "<title>{0}</title><style>{1}</style></head><body>\n<header><div>{2}<h1>{0}</h1>",
      escape_xml(clip(title, 200)), html_style, badge);
}

std::string html_command(std::string_view command) {
  return command.empty() ? "" : fmt::format("<code class=\"command\">{}</code>", escape_xml(clip(command, 4000)));
}

void HtmlFacts::add(std::string_view name, std::string_view value) {
  if (!value.empty()) text_ += fmt::format("{}{} {}", text_.empty() ? "" : " \xC2\xB7 ", name, escape_xml(clip(value, 300)));
}

std::string HtmlFacts::html() const { return "<p class=\"facts\">" + text_ + "</p>"; }

std::string html_closing(std::string_view note) {
  return fmt::format(
      "</main><footer>{}<p>Written by holdfast. \xE2\x80\x9CNo violation found\xE2\x80\x9D and \xE2\x80\x9C"
      "equal\xE2\x80\x9D cover what this page lists, and nothing more.</p></footer></body></html>\n",
      note);
}

}  // namespace holdfast::reports
