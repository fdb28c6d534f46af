<?php
// What the pages need: the database, the session, and HTML that can't be broken out of.

declare(strict_types=1);

const NAME_MAX = 40;

/** The database. Values are always bound, never part of the text. */
function database(): PDO
{
    $url = $_SERVER['COURSE_DB'];
    [$scheme, $rest] = explode(':', $url, 2);
    $parts = parse_url($url) ?: [];
    $at = fn (string $kind, int $port) => sprintf('%s:host=%s;port=%d;dbname=%s', $kind, $parts['host'] ?? '', $parts['port'] ?? $port, ltrim($parts['path'] ?? '', '/'));
    [$dsn, $user, $password] = match ($scheme) {
        'sqlite' => ["sqlite:$rest", null, null],
        'postgres', 'postgresql' => [$at('pgsql', 5432), urldecode($parts['user'] ?? ''), urldecode($parts['pass'] ?? '')],
        'mysql' => [$at('mysql', 3306) . ';charset=utf8mb4', urldecode($parts['user'] ?? ''), urldecode($parts['pass'] ?? '')],
    };
    $pdo = new PDO($dsn, $user, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false]);
    if ($scheme === 'sqlite') {
        $pdo->exec('PRAGMA busy_timeout = 10000');
    }
    return $pdo;
}

function ask(PDO $database, string $text, mixed ...$values): array
{
    $statement = $database->prepare($text);
    $statement->execute($values);
    return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [];
}

function visit(): void
{
    session_name('visit');
    session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);
    $_SESSION['token'] ??= bin2hex(random_bytes(24));
    $_SESSION['name'] ??= '';
}

function name_of(string $text): string
{
    return first(trim(preg_replace('/[\p{C}\p{Z}]+/u', ' ', $text) ?? ''), NAME_MAX);
}

/** The first characters: whole ones, also where mbstring is missing. */
function first(string $text, int $most): string
{
    return preg_match("/^.{0,$most}/us", $text, $found) ? $found[0] : '';
}

function e(mixed $value): string
{
    return htmlspecialchars((string) $value, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

function send(string $body, string $title = 'Courses', int $status = 200): never
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    $who = $_SESSION['name'] !== '' ? '<p>You are ' . e($_SESSION['name']) . '.</p>' : '';
    echo '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        '<title>', e($title), '</title><link rel="stylesheet" href="style.css"></head><body><main><h1>', e($title), '</h1>', $who, $body, '</main></body></html>';
    exit;
}
