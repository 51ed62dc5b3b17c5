"""What countries are called in the other languages of shops here: French, Spanish, Italian, Dutch, Portuguese, Polish, Swedish,
Danish, Czech; and some in their own script.

Invariant: data only. An entry is `ISO-2 name|name|…;`, no name stands for two countries, blanks include line ends; a name in
`country_names` goes before. Names are Unicode CLDR's.
"""

from __future__ import annotations

ABROAD = """
AD Andorre|Andora; AE Émirats arabes unis|Emiratos Árabes Unidos|Emirati Arabi Uniti|Verenigde Arabische
Emiraten|Emirados Árabes Unidos|Zjednoczone Emiraty Arabskie|Förenade Arabemiraten|De Forenede Arabiske
Emirater|Spojené arabské emiráty; AF Afganistán|Afeganistão; AG Antigua-et-Barbuda|Antigua y Barbuda|Antigua e
Barbuda|Antigua en Barbuda|Antigua i Barbuda|Antigua och Barbuda|Antigua og Barbuda|Antigua a Barbuda; AI Anguila; AL
Albanie; AM Arménie; AQ Antarctique|Antártida|Antartide|Antarktyda|Antarktida; AR Argentine|Argentinië|Argentyna; AS
Samoa américaines|Samoa Americana|Samoa Americane|Amerikaans-Samoa|Samoa Amerykańskie|Amerikanska Samoa|Amerikansk
Samoa|Americká Samoa; AT Oostenrijk|Österrike|Østrig|Rakousko; AU Australie; AX Îles Åland|Islas Aland|Isole
Åland|Ilhas Aland|Wyspy Alandzkie|Ålandy; AZ
Azerbaïdjan|Azerbaiyán|Azerbaigian|Azerbeidzjan|Azerbaijão|Azerbejdżan|Azerbajdzjan|Aserbajdsjan|Ázerbájdžán; BA
Bosnie-Herzégovine|Bosnia y Herzegovina|Bosnia ed Erzegovina|Bosnië en Herzegovina|Bósnia e Herzegovina|Bośnia i
Hercegowina|Bosnien och Hercegovina|Bosnien-Hercegovina|Bosna a Hercegovina; BB Barbade; BD Bangladés|Bangladesz; BE
Bélgica|Belgio|Belgia; BF Burquina Faso; BG Bulgarie|Bulgarije|Bułgaria|Bulharsko|България; BH Bahreïn|Baréin|Bahrajn;
BL San Bartolomé|São Bartolomeu|Svatý Bartoloměj; BM Bermudes|Bermudas|Bermudy; BN Brunej; BO Bolivie|Boliwia; BQ
Pays-Bas caribéens|Caribe neerlandés|Caraibi Olandesi|Países Baixos Caribenhos|Niderlandy Karaibskie|Karibiska
Nederländerna|De tidligere Nederlandske Antiller|Karibské Nizozemsko; BR Brésil|Brasile|Brazilië|Brazylia; BS Bahamy;
BT Bhoutan|Bután|Butão; BV Île Bouvet|Isla Bouvet|Isola Bouvet|Bouveteiland|Ilha Bouvet|Wyspa
Bouveta|Bouvetön|Bouvetøen|Bouvetův ostrov; BY Biélorussie|Bielorrusia|Bielorussia|Bielorrússia|Białoruś|Bělorusko; BZ
Belice; CC Îles Cocos|Islas Cocos|Isole Cocos (Keeling)|Cocoseilanden|Ilhas Cocos (Keeling)|Wyspy
Kokosowe|Kokosöarna|Cocosøerne|Kokosové ostrovy; CD República Democrática del Congo|Demokratyczna Republika Konga; CF
República Centroafricana|Repubblica Centrafricana|Centraal-Afrikaanse Republiek|Republika
Środkowoafrykańska|Centralafrikanska republiken|Den Centralafrikanske Republik|Středoafrická republika; CG República
do Congo; CH Suiza|Zwitserland|Suíça|Szwajcaria|Švýcarsko|Confédération suisse; CI Costa d'Avorio|Ivoorkust|Costa do
Marfim|Elfenbenskusten|Elfenbenskysten|Pobřeží slonoviny; CK Îles Cook|Islas Cook|Isole Cook|Cookeilanden|Ilhas
Cook|Wyspy Cooka|Cooköarna|Cookøerne|Cookovy ostrovy; CL Chili|Cile; CM Camerún|Kameroen|Camarões; CN
Chine|Cina|Chiny|Kina|中国|中國; CO Colombie|Kolumbia|Kolumbie; CR Kostaryka|Kostarika; CV Cap-Vert|Capo
Verde|Kaapverdië|Republika Zielonego Przylądka|Kapverdy; CW Curazao; CX Île Christmas|Isla de Navidad|Isola
Christmas|Christmaseiland|Ilha Christmas|Wyspa Bożego Narodzenia|Julön|Juleøen|Vánoční ostrov; CY
Chypre|Chipre|Cipro|Cypr|Cypern|Kypr|Κύπρος; CZ
Tchéquie|Chequia|Cechia|Tsjechië|Tchéquia|Czechy|Tjeckien|Tjekkiet|Česká republika; DE
Duitsland|Alemanha|Niemcy|Tyskland|Německo|GER; DJ Yibuti|Gibuti|Djibuti|Dżibuti|Džibutsko; DK
Dinamarca|Danimarca|Denemarken|Dania|Dánsko; DM Dominique|Dominika; DO République dominicaine|Repubblica
Dominicana|Dominicaanse Republiek|Dominikana|Dominikanska republiken|Den Dominikanske Republik|Dominikánská republika;
DZ Argelia|Algerije|Algieria|Algeriet|Alžírsko; EC Équateur|Equador|Ekwador|Ekvádor; EE Estonie|Estonsko; EG
Égypte|Egipto|Egitto|Egito|Egipt|Egypten; EH Sahara occidental|Sahara Occidentale|Westelijke Sahara|Saara
Ocidental|Sahara Zachodnia|Västsahara|Vestsahara|Západní Sahara; ER Érythrée|Eritreia|Erytrea; ES
Espagne|Spagna|Spanje|Espanha|Hiszpania|Španělsko; ET Éthiopie|Etiopía|Etiopien|Etiopie; FI Finlande|Finlandia|Finsko;
FJ Fidji|Fiyi|Figi|Fidżi; FK Îles Malouines|Islas Malvinas|Isole Falkland|Falklandeilanden|Ilhas
Malvinas|Falklandy|Falklandsöarna|Falklandsøerne|Falklandské ostrovy; FM Micronésie|Mikronezja|Mikronésie; FO Îles
Féroé|Islas Feroe|Isole Fær Øer|Faeröer|Ilhas Faroé|Wyspy Owcze|Färöarna|Færøerne|Faerské ostrovy; FR
Francia|Frankrijk|França|Francja|Frankrike|Frankrig|Francie; GA Gabão; GB Royaume-Uni|Reino Unido|Regno Unito|Verenigd
Koninkrijk|Wielka Brytania|Storbritannien|Spojené království|Angleterre|Inglaterra|Inghilterra|Gran
Bretaña|Grã-Bretanha|Gran Bretagna|Grande-Bretagne|Engeland|Groot-Brittannië; GD Grenade|Granada; GE
Géorgie|Gruzja|Gruzie; GF Guayana Francesa|Guyana Francese|Frans-Guyana|Guiana Francesa|Gujana Francuska|Franska
Guyana|Fransk Guyana|Francouzská Guyana; GG Guernesey; GH Gana; GI Gibilterra; GL
Groenlandia|Grenlandia|Grønland|Grónsko; GM Gambie; GN Guiné|Gwinea; GP Guadalupe|Guadalupa|Gwadelupa; GQ Guinea
Equatoriale|Equatoriaal-Guinea|Gwinea Równikowa|Ekvatorialguinea|Ækvatorialguinea|Rovníková Guinea; GR
Grèce|Grecia|Griekenland|Grecja|Grekland|Grækenland|Řecko|Ελλάδα|Ελλάς; GS Sydgeorgien och Sydsandwichöarna; GT
Gwatemala; GW Guinée-Bissau|Guinea-Bisáu|Gwinea Bissau; GY Guiana|Gujana; HK R.A.S. chinoise de Hong Kong|RAE de Hong
Kong (China)|RAS di Hong Kong|Hongkong SAR van China|Hong Kong, RAE da China|SRA Hongkong (Chiny)|Hongkong SAR|SAR
Hongkong|Hongkong – ZAO Číny; HM Îles Heard-et-MacDonald|Islas Heard y McDonald|Isole Heard e McDonald|Heard en
McDonaldeilanden|Ilhas Heard e McDonald|Wyspy Heard i McDonalda|Heardön och McDonaldöarna|Heard Island og McDonald
Islands; HR Croatie|Croacia|Croazia|Kroatië|Chorwacja|Chorvatsko; HU
Hongrie|Hungría|Ungheria|Hongarije|Węgry|Ungern|Maďarsko; ID Indonésie|Indonezja; IE
Irlande|Irlanda|Ierland|Irlandia|Irsko; IL Israele|Izrael; IM Île de Man|Isla de Man|Isola di Man|Ilha de Man|Wyspa
Man|Ostrov Man; IN Inde|Indie; IO Brits Indische Oceaanterritorium|Britské indickooceánské území; IQ Iraque; IR Irã;
IS Islande|Islandia|Islanda|IJsland; IT Italie|Włochy; JM Jamaïque|Giamaica|Jamajka; JO
Jordanie|Jordania|Giordania|Jordánsko; JP Japon|Giappone|Japão|Japonia|Japonsko|日本; KE Quênia|Keňa; KG
Kirghizstan|Kirguistán|Kirghizistan|Kirgizië|Quirguistão|Kirgistan|Kirgizistan; KH
Cambodge|Camboya|Cambogia|Cambodja|Camboja|Kambodża|Kambodja; KI Quiribati; KM
Comoras|Comore|Comoren|Komory|Komorerna|Comorerne; KN Saint-Christophe-et-Niévès|San Cristóbal y Nieves|Saint Kitts e
Nevis|Saint Kitts en Nevis|São Cristóvão e Névis|Saint Kitts i Nevis|S:t Kitts och Nevis|Saint Kitts og Nevis|Svatý
Kryštof a Nevis; KP Corée du Nord|Corea del Norte|Corea del Nord|Noord-Korea|Coreia do Norte|Korea Północna|Severní
Korea; KR Corée du Sud|Corea del Sur|Corea del Sud|Zuid-Korea|Coreia do Sul|Korea Południowa|Sydkorea|Jižní
Korea|Republic of Korea|대한민국; KW Koweït|Koeweit|Kuwejt|Kuvajt; KY Îles Caïmans|Islas Caimán|Isole
Cayman|Kaaimaneilanden|Ilhas Cayman|Kajmany|Caymanöarna|Caymanøerne|Kajmanské ostrovy; KZ
Kazajistán|Kazakistan|Kazachstan|Cazaquistão|Kazakstan|Kasakhstan; LB Liban|Líbano; LC Sainte-Lucie|Santa Lucía|Svatá
Lucie; LI Lichtenštejnsko|Lichtenstein; LR Libérie; LS Lesoto; LT Lituanie|Lituania|Litouwen|Litwa|Litva; LU
Luxemburgo|Lussemburgo|Luksemburg|Lucembursko; LV Lettonie|Letonia|Lettonia|Letland|Łotwa|Lotyšsko; LY
Libye|Libia|Libië; MA Maroc|Marruecos|Marocco|Marrocos|Maroko|Marocko; MC Monako; MD
Moldavie|Moldavia|Mołdawia|Moldavien|Moldavsko; ME Czarnogóra|Černá Hora; MF San Martín|São Martinho|Svatý Martin
(Francie); MH Îles Marshall|Islas Marshall|Isole Marshall|Marshalleilanden|Ilhas Marshall|Wyspy
Marshalla|Marshallöarna|Marshalløerne|Marshallovy ostrovy; MK Macédoine du Nord|Macedonia del Norte|Macedonia del
Nord|Noord-Macedonië|Macedônia do Norte|Macedonia Północna|Nordmakedonien|Severní Makedonie|Северна Македонија; MM
Myanmar (Birmanie)|Myanmar (Birmania)|Myanmar (Birma)|Mianmar (Birmânia)|Mjanma (Birma)|Myanmar (Barma); MN
Mongolie|Mongoliet|Mongolsko; MO R.A.S. chinoise de Macao|RAE de Macao (China)|RAS di Macao|Macau SAR van China|SRA
Makau (Chiny)|Macao SAR|SAR Macao|Macao – ZAO Číny; MP Îles Mariannes du Nord|Islas Marianas del Norte|Isole Marianne
Settentrionali|Noordelijke Marianen|Ilhas Marianas do Norte|Mariany Północne|Nordmarianerna|Nordmarianerne|Severní
Mariany; MQ Martinica|Martynika|Martinik; MR Mauritanie|Mauretania; MT Malte; MU Mauricio|Mauricius; MV
Maldivas|Maldive|Maldiven|Malediwy|Maldiverna|Maldiverne|Maledivy; MW Malaui; MX Mexique|Messico|Meksyk; MY
Malaisie|Malasia|Maleisië|Malezja|Malajsie; MZ Mozambico|Mozambik; NA Namibie; NC Nueva Caledonia|Nuova
Caledonia|Nieuw-Caledonië|Nova Caledônia|Nowa Kaledonia|Nya Kaledonien|Ny Kaledonien|Nová Kaledonie; NF Île
Norfolk|Isla Norfolk|Isola Norfolk|Norfolk|Ilha Norfolk|Norfolkön; NG Nigérie; NI Nikaragua; NL Países Bajos|Paesi
Bassi|Países Baixos|Holandia|Nederländerna|Nederlandene|Nizozemsko|Holanda|Hollande|Olanda; NO
Norvège|Noruega|Norvegia|Noorwegen|Norwegia|Norsko; NZ Nouvelle-Zélande|Nueva Zelanda|Nuova Zelanda|Nieuw-Zeeland|Nova
Zelândia|Nowa Zelandia|Nya Zeeland|Nový Zéland; OM Omã; PE Pérou; PF Polinesia Francesa|Polinesia
Francese|Frans-Polynesië|Polinezja Francuska|Franska Polynesien|Fransk Polynesien|Francouzská Polynésie; PG
Papouasie-Nouvelle-Guinée|Papúa Nueva Guinea|Papua Nuova Guinea|Papoea-Nieuw-Guinea|Papua-Nova Guiné|Papua-Nowa
Gwinea|Papua Nya Guinea|Papua Ny Guinea|Papua-Nová Guinea; PH
Filipinas|Filippine|Filipijnen|Filipiny|Filippinerna|Filippinerne; PK Paquistão; PL Pologne|Polonia|Polsko; PM San
Pedro y Miquelón|Saint-Pierre e Miquelon|Saint-Pierre en Miquelon|São Pedro e Miquelão|Saint-Pierre i Miquelon|S:t
Pierre och Miquelon|Saint Pierre og Miquelon|Saint-Pierre a Miquelon; PN Îles Pitcairn|Islas Pitcairn|Isole
Pitcairn|Pitcairneilanden|Ilhas Pitcairn|Pitcairnöarna|Pitcairnovy ostrovy; PR Porto Rico|Portoryko|Portoriko; PS
Territoires palestiniens|Territorios Palestinos|Territori Palestinesi|Palestijnse gebieden|Terytoria
Palestyńskie|Palestinska territorierna|De palæstinensiske områder|Palestinská území; PT
Portogallo|Portugalia|Portugalsko; PW Palaos; PY Paragwaj; QA Catar; RE Riunione|Reunião; RO
Roumanie|Rumanía|Roemenië|Romênia|Rumunia|Rumænien|Rumunsko; RS Serbie|Servië|Sérvia|Srbsko|Србија; RU
Russie|Rusia|Rusland|Rosja|Ryssland|Rusko|Россия; SA Arabie saoudite|Arabia Saudí|Arabia Saudita|Saoedi-Arabië|Arabia
Saudyjska|Saúdská Arábie; SB Îles Salomon|Islas Salomón|Isole Salomone|Salomonseilanden|Ilhas Salomão|Wyspy
Salomona|Salomonöarna|Salomonøerne|Šalamounovy ostrovy; SC Seicheles|Seszele|Seychellerna|Seychellerne|Seychely; SD
Soudan|Soedan|Sudão; SE Suède|Suecia|Svezia|Zweden|Szwecja|Švédsko; SG Singapour; SH Sainte-Hélène|Santa
Elena|Sant'Elena|Sint-Helena|Santa Helena|Wyspa Świętej Heleny|Svatá Helena; SI
Slovénie|Eslovenia|Słowenia|Slovenien|Slovinsko; SJ Svalbard et Jan Mayen|Svalbard y Jan Mayen|Svalbard e Jan
Mayen|Spitsbergen en Jan Mayen|Svalbard i Jan Mayen|Svalbard och Jan Mayen|Špicberky a Jan Mayen; SK
Slovaquie|Eslovaquia|Slovacchia|Slowakije|Słowacja|Slovakien|Slovakiet|Slovenská republika; SL Sierra Leona|Serra
Leoa; SM Saint-Marin; SO Somalie|Somálsko; SR Surinam; SS Soudan du Sud|Sudán del Sur|Zuid-Soedan|Sudão do Sul|Sudan
Południowy|Sydsudan|Jižní Súdán; ST Sao Tomé-et-Principe|Santo Tomé y Príncipe|Sao Tomé en Principe|Wyspy Świętego
Tomasza i Książęca|São Tomé och Príncipe|São Tomé og Príncipe|Svatý Tomáš a Princův ostrov; SV Salvador|Salwador; SX
Saint-Martin (partie néerlandaise)|Svatý Martin (Nizozemsko); SY Syrie|Siria; SZ Esuatini|Essuatíni; TC Îles
Turques-et-Caïques|Islas Turcas y Caicos|Isole Turks e Caicos|Turks- en Caicoseilanden|Ilhas Turcas e Caicos|Turks i
Caicos|Turks- och Caicosöarna|Turks- og Caicosøerne|Turks a Caicos; TD Ciad|Tsjaad|Chade|Czad|Čad; TF Terres australes
françaises|Territorios Australes Franceses|Terre Australi Francesi|Territórios Franceses do Sul|Franska
sydterritorierna|Francouzská jižní území; TH Thaïlande|Tailandia|Thailandia|Tajlandia|Thajsko; TJ
Tadjikistan|Tayikistán|Tagikistan|Tadzjikistan|Tadjiquistão|Tadżykistan|Tadsjikistan|Tádžikistán; TK Tokelauöarna; TL
Timor oriental|Timor Est|Oost-Timor|Timor Wschodni|Východní Timor; TM Turcomenistão; TN
Túnez|Tunesië|Tunezja|Tunisien|Tunisko; TR Turquie|Turquía|Turchia|Turkije|Turcja|Turkiet|Tyrkiet|Turecko; TT
Trinité-et-Tobago|Trinidad y Tobago|Trinidad e Tobago|Trinidad en Tobago|Trynidad i Tobago|Trinidad och
Tobago|Trinidad og Tobago|Trinidad a Tobago; TW Tajwan|Tchaj-wan|Taiwan, R.O.C.|台灣; TZ Tanzanie; UA
Ucrania|Ucraina|Oekraïne|Ukraina|Ukrajina|Україна; UG Ouganda|Oeganda; UM Islas menores alejadas de EE. UU.|Ilhas
Menores Distantes dos EUA|USA:s yttre öar|Amerikanske oversøiske øer|Menší odlehlé ostrovy USA; US Stati
Uniti|Verenigde Staten|Stany Zjednoczone|Spojené státy|EE.UU.|Estados Unidos de América|États-Unis d'Amérique|Stati
Uniti d'America|Estados Unidos da América; UY Uruguai|Urugwaj; UZ Ouzbékistan|Oezbekistan|Uzbequistão; VA État de la
Cité du Vatican|Ciudad del Vaticano|Città del Vaticano|Vaticaanstad|Cidade do Vaticano|Watykan|Vatikanstaten; VC
Saint-Vincent-et-les Grenadines|San Vicente y las Granadinas|Saint Vincent e Grenadine|Saint Vincent en de
Grenadines|São Vicente e Granadinas|Saint Vincent i Grenadyny|S:t Vincent och Grenadinerna|Saint Vincent og
Grenadinerne|Svatý Vincenc a Grenadiny; VE Wenezuela; VG Îles Vierges britanniques|Islas Vírgenes Británicas|Isole
Vergini Britanniche|Britse Maagdeneilanden|Ilhas Virgens Britânicas|Brytyjskie Wyspy Dziewicze|Brittiska
Jungfruöarna|De Britiske Jomfruøer|Britské Panenské ostrovy; VI Îles Vierges des États-Unis|Islas Vírgenes de EE.
UU.|Isole Vergini Americane|Amerikaanse Maagdeneilanden|Ilhas Virgens Americanas|Amerikanska Jungfruöarna|De
Amerikanske Jomfruøer|Americké Panenské ostrovy; VN Vietnã|Wietnam; WF Wallis y Futuna|Wallis e Futuna|Wallis en
Futuna|Wallis i Futuna|Wallis- och Futunaöarna|Wallis og Futuna|Wallis a Futuna; XK Kosowo; YE Iêmen; YT Majotta; ZA
Afrique du Sud|Sudáfrica|Zuid-Afrika|África do Sul|Republika Południowej Afryki|Sydafrika|Jihoafrická republika; ZM
Zambie; ZW Zimbabue;
"""
