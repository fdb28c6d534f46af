<?php
// One course, and the form to join it.

require __DIR__ . '/.lib/site.php';

visit();
$database = database();
$code = is_string($_GET['code'] ?? null) && preg_match('/^\d{1,9}$/D', $_GET['code']) ? (int) $_GET['code'] : -1;
$rows = ask($database, 'SELECT title, teacher, about FROM courses WHERE code = ?', $code);
if (!$rows) {
    send('<p>There is no such course. <a href="./">All courses</a></p>', 'Not found', 404);
}
[$title, $teacher, $about] = $rows[0];
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    if (!hash_equals($_SESSION['token'], (string) ($_POST['token'] ?? ''))) {
        send('<p>This form is too old. <a href="">Again</a></p>', 'Too old', 403);
    }
    $name = name_of((string) ($_POST['name'] ?? ''));
    if ($name !== '') {
        $_SESSION['name'] = $name;
        if (!ask($database, 'SELECT name FROM members WHERE code = ? AND name = ?', $code, $name)) {
            ask($database, 'INSERT INTO members (code, name, since) VALUES (?, ?, ?)', $code, $name, time());
        }
    }
    header("Location: course.php?code=$code", true, 303);
    exit;
}
$people = '';
foreach (ask($database, 'SELECT name FROM members WHERE code = ? ORDER BY since, name', $code) as [$name]) {
    $people .= '<li>' . e($name) . '</li>';
}
send('<p>' . e($about) . '</p><p>With ' . e($teacher) . ', code ' . $code . '.</p><h2>Members</h2><ul>' . ($people ?: '<li>Nobody yet</li>') . '</ul>'
    . '<form method="post"><input type="hidden" name="token" value="' . e($_SESSION['token']) . '">'
    . '<label>Your name <input name="name" maxlength="40" required value="' . e($_SESSION['name']) . '"></label> <button>Join</button></form>'
    . '<p><a href="./">All courses</a></p>', $title);
