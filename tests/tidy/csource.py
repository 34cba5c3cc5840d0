# SPDX-License-Identifier: MIT
"""csource.py - just enough reading of C for the tidy rules: comments, strings, functions, calls."""
import collections
import re

Function = collections.namedtuple('Function', 'name line lines depth calls')

KEYWORDS = {'if', 'for', 'while', 'switch', 'return', 'sizeof', 'do', 'else', 'case', 'defined',
            '_Alignof', '_Alignas', '_Static_assert', '_Generic', 'alignof', 'alignas', 'typeof'}
BLANKED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text):
    """The text with comments, strings and character constants replaced by blanks; lines stay lines."""
    def replace(match):
        return re.sub(r'[^\n]', ' ', match.group(0))
    return BLANKED.sub(replace, text)


def uncomment(text):
    """The text with comments replaced by blanks; strings stay."""
    def replace(match):
        word = match.group(0)
        return re.sub(r'[^\n]', ' ', word) if word.startswith('/') else word
    return BLANKED.sub(replace, text)


def without_directives(text):
    """Blanked text without preprocessor lines, continued ones included."""
    out, inside = [], False
    for line in text.split('\n'):
        directive = inside or line.lstrip().startswith('#')
        inside = directive and line.endswith('\\')
        out.append('' if directive else line)
    return '\n'.join(out)


def matching(text, at, pair):
    """Index after the bracket that closes the one at text[at]."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == pair[0]) - (text[i] == pair[1])
        if depth == 0:
            return i + 1
    return len(text)


def block_depth(body):
    """Deepest nesting of statement blocks in a function's braces; initialisers do not count."""
    deepest, stack = 0, []
    for i, ch in enumerate(body):
        if ch == '{':
            before = body[:i].rstrip()
            stack.append(before.endswith((')', '}', ';', '{', ':', 'else', 'do')))
            deepest = max(deepest, sum(stack))
        elif ch == '}' and stack:
            stack.pop()
    return deepest


def functions(text):
    """Every function defined in a file."""
    code = without_directives(blank(text))
    found, i = [], 0
    while True:
        i = code.find('{', i)
        if i < 0:
            return found
        end = matching(code, i, '{}')
        head = code[:i].rstrip()
        start = max(head.rfind(';'), head.rfind('}')) + 1
        name = re.search(r'(\w+)\s*\([^;]*\)$', head[start:], re.S)
        first = re.search(r'\b([A-Za-z_]\w*)\s*\(', head[start:])
        if name and first and '=' not in head[start:] and first.group(1) not in KEYWORDS:
            body = code[i:end]
            calls = {c for c in re.findall(r'(?<![.>\w])([A-Za-z_]\w*)\s*\(', body) if c not in KEYWORDS}
            signature = start + len(head[start:]) - len(head[start:].lstrip())
            found.append(Function(first.group(1), code.count('\n', 0, signature) + 1,
                                  code.count('\n', signature, end) + 1, block_depth(body), calls))
        i = end


def includes(text):
    """(line, '<' or '\"', name) of every include."""
    for number, line in enumerate(text.split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1), match.group(2)
