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
$name = $_SESSION['name'];
[$status, $fault] = [200, ''];
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    check_token();
    $name = name_of(sent('name'));
    $fault = fault_of($name);
    if ($fault !== '') {
        $status = 422;
    } elseif (join_course($database, $code, $name)) {
        call_visitor($name);
        go("course?code=$code");
    } else {
        [$status, $fault] = [409, "$name is a member already. If that is not you, add something to your name."];
    }
}
$people = '';
foreach (ask($database, 'SELECT name FROM members WHERE code = ? ORDER BY since, name', $code) as [$member]) {
    $people .= '<li>' . e($member) . '</li>';
}
send('<p>' . e($about) . '</p><p>With ' . e($teacher) . ', code ' . $code . '.</p><h2>Members</h2><ul>' . ($people ?: '<li>Nobody yet</li>') . '</ul>'
    . '<form method="post" id="join">' . token_field() . name_field($name) . ' <button>Join</button></form>'
    . '<p><a href="./">All courses</a></p>', $title, $status, $fault);
