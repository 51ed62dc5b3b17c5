"""The countries of ISO 3166 and what people call them: in English, in German, in their own languages, and by habit.

Invariant: data only. An entry is `ISO-2 ISO-3 name|name|…;`, no name stands for two countries, and blanks include line ends.
Names are Unicode CLDR's and ISO's; `XK` (Kosovo) is a code that CLDR and telephone numbering use.
"""

from __future__ import annotations

COUNTRY_NAMES = """
AD AND Andorra|Principality of Andorra; AE ARE United Arab Emirates|Vereinigte Arabische Emirate|UAE|VAE|Emirates|Emirate;
AF AFG Afghanistan|Islamic Republic of Afghanistan; AG ATG Antigua and Barbuda|Antigua und Barbuda; AI AIA Anguilla; AL ALB
Albania|Republic of Albania|Albanien|Shqipëri; AM ARM Armenia|Republic of Armenia|Armenien; AO AGO Angola|Republic of
Angola; AQ ATA Antarctica|Antarktis; AR ARG Argentina|Argentine Republic|Argentinien; AS ASM American
Samoa|Amerikanisch-Samoa; AT AUT Austria|Republic of Austria|Österreich|Republik Österreich|Autriche; AU AUS
Australia|Australien|Commonwealth of Australia; AW ABW Aruba; AX ALA Åland Islands|Ålandinseln|Åland; AZ AZE
Azerbaijan|Republic of Azerbaijan|Aserbaidschan; BA BIH Bosnia and Herzegovina|Republic of Bosnia and Herzegovina|Bosnien
und Herzegowina|Bosnia|Bosnien|Bosnien-Herzegowina|Bosnia-Herzegovina|Bosna i Hercegovina; BB BRB Barbados; BD BGD
Bangladesh|People's Republic of Bangladesh|Bangladesch; BE BEL Belgium|Kingdom of Belgium|Belgien|Belgique|België; BF BFA
Burkina Faso; BG BGR Bulgaria|Republic of Bulgaria|Bulgarien|Bulgarija; BH BHR Bahrain|Kingdom of Bahrain; BI BDI
Burundi|Republic of Burundi|Uburundi; BJ BEN Benin|Republic of Benin; BL BLM Saint Barthélemy|St. Barthélemy; BM BMU
Bermuda; BN BRN Brunei Darussalam|Brunei; BO BOL Bolivia, Plurinational State of|Bolivia|Plurinational State of
Bolivia|Bolivien; BQ BES Bonaire, Sint Eustatius and Saba|Caribbean Netherlands|Karibische Niederlande|Caribisch Nederland;
BR BRA Brazil|Federative Republic of Brazil|Brasilien|Brasil; BS BHS Bahamas|Commonwealth of the Bahamas|The Bahamas; BT BTN
Bhutan|Kingdom of Bhutan; BV BVT Bouvet Island|Bouvetinsel; BW BWA Botswana|Republic of Botswana|Botsuana; BY BLR
Belarus|Republic of Belarus|Weißrussland; BZ BLZ Belize; CA CAN Canada|Kanada; CC CCK Cocos (Keeling) Islands|Kokosinseln;
CD COD Congo, The Democratic Republic of the|Congo - Kinshasa|Kongo-Kinshasa|DR Congo|DRC|Zaire|Democratic Republic of
Congo; CF CAF Central African Republic|Zentralafrikanische Republik|Ködörösêse tî Bêafrîka|République centrafricaine; CG COG
Republic of the Congo|Congo - Brazzaville|Kongo-Brazzaville; CH CHE Switzerland|Swiss
Confederation|Schweiz|Schweizerische Eidgenossenschaft|Suisse|Svizzera|Svizra|Swiss; CI CIV Côte d'Ivoire|Republic of Côte
d'Ivoire|Ivory Coast|Elfenbeinküste; CK COK Cook Islands|Cookinseln; CL CHL Chile|Republic of Chile; CM CMR
Cameroon|Republic of Cameroon|Kamerun|Cameroun; CN CHN China|People's Republic of China|PRC|Volksrepublik China|Mainland
China; CO COL Colombia|Republic of Colombia|Kolumbien; CR CRI Costa Rica|Republic of Costa Rica; CU CUB Cuba|Republic of
Cuba|Kuba; CV CPV Cabo Verde|Republic of Cabo Verde|Cape Verde|Kap Verde; CW CUW Curaçao; CX CXR Christmas
Island|Weihnachtsinsel; CY CYP Cyprus|Republic of Cyprus|Zypern|Kypros|Kıbrıs; CZ CZE Czechia|Czech
Republic|Tschechien|Tschechische Republik|Tschechei|Česko; DE DEU Germany|Federal Republic of
Germany|Deutschland|Bundesrepublik Deutschland|BRD|Allemagne|Germania|Alemania; DJ DJI Djibouti|Republic of
Djibouti|Dschibuti; DK DNK Denmark|Kingdom of Denmark|Dänemark|Danmark; DM DMA Dominica|Commonwealth of Dominica; DO DOM
Dominican Republic|Dominikanische Republik|República Dominicana; DZ DZA Algeria|People's Democratic Republic of
Algeria|Algerien|Algérie; EC ECU Ecuador|Republic of Ecuador; EE EST Estonia|Republic of Estonia|Estland|Eesti; EG EGY
Egypt|Arab Republic of Egypt|Ägypten; EH ESH Western Sahara|Westsahara; ER ERI Eritrea|the State of Eritrea; ES ESP
Spain|Kingdom of Spain|Spanien|España; ET ETH Ethiopia|Federal Democratic Republic of Ethiopia|Äthiopien; FI FIN
Finland|Republic of Finland|Finnland|Suomi; FJ FJI Fiji|Republic of Fiji|Fidschi; FK FLK Falkland Islands
(Malvinas)|Falkland Islands|Falklandinseln; FM FSM Micronesia, Federated States of|Federated States of
Micronesia|Micronesia|Mikronesien; FO FRO Faroe Islands|Färöer|Føroyar; FR FRA France|French Republic|Frankreich; GA GAB
Gabon|Gabonese Republic|Gabun; GB GBR United Kingdom|United Kingdom of Great Britain and Northern Ireland|Vereinigtes
Königreich|UK|Great Britain|Britain|England|Scotland|Wales|Northern Ireland|Großbritannien|United Kingdom of Great
Britain|Schottland|Nordirland; GD GRD Grenada; GE GEO Georgia|Georgien; GF GUF French Guiana|Französisch-Guayana|Guyane
française; GG GGY Guernsey; GH GHA Ghana|Republic of Ghana; GI GIB Gibraltar; GL GRL Greenland|Grönland|Kalaallit Nunaat; GM
GMB Gambia|Republic of the Gambia|The Gambia; GN GIN Guinea|Republic of Guinea|Guinée; GP GLP Guadeloupe; GQ GNQ Equatorial
Guinea|Republic of Equatorial Guinea|Äquatorialguinea|Guinea Ecuatorial|Guinée équatoriale|Guiné Equatorial; GR GRC
Greece|Hellenic Republic|Griechenland|EL|Hellas|Ellada; GS SGS South Georgia and the South Sandwich Islands|South Georgia &
South Sandwich Islands|Südgeorgien und die Südlichen Sandwichinseln; GT GTM Guatemala|Republic of Guatemala; GU GUM Guam; GW
GNB Guinea-Bissau|Republic of Guinea-Bissau|Guiné-Bissau; GY GUY Guyana|Republic of Guyana; HK HKG Hong Kong|Hong Kong
Special Administrative Region of China|Hong Kong SAR China|Sonderverwaltungsregion Hongkong; HM HMD Heard Island and
McDonald Islands|Heard & McDonald Islands|Heard und McDonaldinseln; HN HND Honduras|Republic of Honduras; HR HRV
Croatia|Republic of Croatia|Kroatien|Hrvatska; HT HTI Haiti|Republic of Haiti; HU HUN Hungary|Ungarn|Magyarország; ID IDN
Indonesia|Republic of Indonesia|Indonesien; IE IRL Ireland|Irland|Republic of Ireland|Eire; IL ISR Israel|State of Israel;
IM IMN Isle of Man|Ellan Vannin; IN IND India|Republic of India|Indien|Bharat; IO IOT British Indian Ocean
Territory|Britisches Territorium im Indischen Ozean; IQ IRQ Iraq|Republic of Iraq|Irak; IR IRN Iran, Islamic Republic
of|Iran|Islamic Republic of Iran|Persia; IS ISL Iceland|Republic of Iceland|Island; IT ITA Italy|Italian
Republic|Italien|Italia; JE JEY Jersey; JM JAM Jamaica|Jamaika; JO JOR Jordan|Hashemite Kingdom of Jordan|Jordanien; JP JPN
Japan|Nippon|Nihon; KE KEN Kenya|Republic of Kenya|Kenia; KG KGZ Kyrgyzstan|Kyrgyz Republic|Kirgisistan; KH KHM
Cambodia|Kingdom of Cambodia|Kambodscha; KI KIR Kiribati|Republic of Kiribati; KM COM Comoros|Union of the
Comoros|Komoren|Comores; KN KNA Saint Kitts and Nevis|St. Kitts & Nevis|St. Kitts und Nevis; KP PRK Korea, Democratic
People's Republic of|North Korea|Democratic People's Republic of Korea|Nordkorea; KR KOR Korea, Republic of|South
Korea|Südkorea|Republik Korea; KW KWT Kuwait|State of Kuwait; KY CYM Cayman Islands|Kaimaninseln; KZ KAZ Kazakhstan|Republic
of Kazakhstan|Kasachstan; LA LAO Lao People's Democratic Republic|Laos; LB LBN Lebanon|Lebanese Republic|Libanon; LC LCA
Saint Lucia|St. Lucia; LI LIE Liechtenstein|Principality of Liechtenstein; LK LKA Sri Lanka|Democratic Socialist Republic of
Sri Lanka; LR LBR Liberia|Republic of Liberia; LS LSO Lesotho|Kingdom of Lesotho; LT LTU Lithuania|Republic of
Lithuania|Litauen|Lietuva; LU LUX Luxembourg|Grand Duchy of Luxembourg|Luxemburg|Lëtzebuerg; LV LVA Latvia|Republic of
Latvia|Lettland|Latvija; LY LBY Libya|Libyen; MA MAR Morocco|Kingdom of Morocco|Marokko; MC MCO Monaco|Principality of
Monaco; MD MDA Moldova, Republic of|Moldova|Republic of Moldova|Republik Moldau|Moldau|Moldawien|Republica Moldova; ME MNE
Montenegro|Crna Gora; MF MAF Saint Martin (French part)|St. Martin|Saint-Martin; MG MDG Madagascar|Republic of
Madagascar|Madagaskar|Madagasikara; MH MHL Marshall Islands|Republic of the Marshall Islands|Marshallinseln; MK MKD North
Macedonia|Republic of North Macedonia|Nordmazedonien|Macedonia|Mazedonien; ML MLI Mali|Republic of Mali; MM MMR
Myanmar|Republic of Myanmar|Myanmar (Burma)|Burma|Birma; MN MNG Mongolia|Mongolei; MO MAC Macao|Macao Special Administrative
Region of China|Macao SAR China|Sonderverwaltungsregion Macau|Macau|Macau, RAE da China; MP MNP Northern Mariana
Islands|Commonwealth of the Northern Mariana Islands|Nördliche Marianen; MQ MTQ Martinique; MR MRT Mauritania|Islamic
Republic of Mauritania|Mauretanien; MS MSR Montserrat; MT MLT Malta|Republic of Malta; MU MUS Mauritius|Republic of
Mauritius|Maurice; MV MDV Maldives|Republic of Maldives|Malediven|The Maldives; MW MWI Malawi|Republic of Malawi; MX MEX
Mexico|United Mexican States|Mexiko; MY MYS Malaysia; MZ MOZ Mozambique|Republic of Mozambique|Mosambik|Moçambique; NA NAM
Namibia|Republic of Namibia; NC NCL New Caledonia|Neukaledonien|Nouvelle-Calédonie; NE NER Niger|Republic of the Niger; NF
NFK Norfolk Island|Norfolkinsel; NG NGA Nigeria|Federal Republic of Nigeria|Nàìjíríà; NI NIC Nicaragua|Republic of
Nicaragua; NL NLD Netherlands|Kingdom of the Netherlands|Niederlande|Holland|The Netherlands|Pays-Bas|Nederland; NO NOR
Norway|Kingdom of Norway|Norwegen|Norge|Noreg; NP NPL Nepal|Federal Democratic Republic of Nepal; NR NRU Nauru|Republic of
Nauru; NU NIU Niue; NZ NZL New Zealand|Neuseeland|Aotearoa; OM OMN Oman|Sultanate of Oman; PA PAN Panama|Republic of Panama;
PE PER Peru|Republic of Peru; PF PYF French Polynesia|Französisch-Polynesien|Polynésie française; PG PNG Papua New
Guinea|Independent State of Papua New Guinea|Papua-Neuguinea|Papua Niugini; PH PHL Philippines|Republic of the
Philippines|Philippinen|The Philippines|Pilipinas; PK PAK Pakistan|Islamic Republic of Pakistan; PL POL Poland|Republic of
Poland|Polen|Polska; PM SPM Saint Pierre and Miquelon|St. Pierre & Miquelon|St. Pierre und
Miquelon|Saint-Pierre-et-Miquelon; PN PCN Pitcairn|Pitcairn Islands|Pitcairninseln; PR PRI Puerto Rico; PS PSE Palestine,
State of|the State of Palestine|Palestinian Territories|Palästinensische Autonomiegebiete|Palestine|Palästina; PT PRT
Portugal|Portuguese Republic; PW PLW Palau|Republic of Palau; PY PRY Paraguay|Republic of Paraguay|Paraguai; QA QAT
Qatar|State of Qatar|Katar; RE REU Réunion|La Réunion; RO ROU Romania|Rumänien; RS SRB Serbia|Republic of
Serbia|Serbien|Srbija; RU RUS Russian Federation|Russia|Russland|Russische Föderation|Rossija; RW RWA Rwanda|Rwandese
Republic|Ruanda|U Rwanda; SA SAU Saudi Arabia|Kingdom of Saudi Arabia|Saudi-Arabien|KSA; SB SLB Solomon Islands|Salomonen;
SC SYC Seychelles|Republic of Seychelles|Seychellen; SD SDN Sudan|Republic of the Sudan|The Sudan; SE SWE Sweden|Kingdom of
Sweden|Schweden|Sverige; SG SGP Singapore|Republic of Singapore|Singapur|Singapura; SH SHN Saint Helena, Ascension and
Tristan da Cunha|St. Helena; SI SVN Slovenia|Republic of Slovenia|Slowenien|Slovenija; SJ SJM Svalbard and Jan
Mayen|Spitzbergen und Jan Mayen|Svalbard og Jan Mayen; SK SVK Slovakia|Slovak Republic|Slowakei|Slowakische
Republik|Slovensko; SL SLE Sierra Leone|Republic of Sierra Leone; SM SMR San Marino|Republic of San Marino; SN SEN
Senegal|Republic of Senegal; SO SOM Somalia|Federal Republic of Somalia|Soomaaliya; SR SUR Suriname|Republic of Suriname; SS
SSD South Sudan|Republic of South Sudan|Südsudan; ST STP Sao Tome and Principe|Democratic Republic of Sao Tome and
Principe|São Tomé und Príncipe|Sao Tome|São Tomé e Príncipe; SV SLV El Salvador|Republic of El Salvador; SX SXM Sint Maarten
(Dutch part)|Sint Maarten; SY SYR Syrian Arab Republic|Syria|Syrien; SZ SWZ Eswatini|Kingdom of
Eswatini|Swaziland|Swasiland; TC TCA Turks and Caicos Islands|Turks- und Caicosinseln; TD TCD Chad|Republic of
Chad|Tschad|Tchad; TF ATF French Southern Territories|Französische Süd- und Antarktisgebiete; TG TGO Togo|Togolese Republic;
TH THA Thailand|Kingdom of Thailand; TJ TJK Tajikistan|Republic of Tajikistan|Tadschikistan; TK TKL Tokelau; TL TLS
Timor-Leste|Democratic Republic of Timor-Leste|East Timor|Osttimor; TM TKM Turkmenistan; TN TUN Tunisia|Republic of
Tunisia|Tunesien|Tunisie; TO TON Tonga|Kingdom of Tonga; TR TUR Türkiye|Republic of Türkiye|Türkei|Turkey; TT TTO Trinidad
and Tobago|Republic of Trinidad and Tobago|Trinidad und Tobago|Trinidad; TV TUV Tuvalu; TW TWN Taiwan, Province of
China|Taiwan|Republic of China; TZ TZA Tanzania, United Republic of|Tanzania|United Republic of Tanzania|Tansania; UA UKR
Ukraine|The Ukraine; UG UGA Uganda|Republic of Uganda; UM UMI United States Minor Outlying Islands|U.S. Outlying
Islands|Amerikanische Überseeinseln; US USA United States|United States of America|Vereinigte
Staaten|U.S.|America|Amerika|Vereinigte Staaten von Amerika|US of A|États-Unis|Estados Unidos; UY URY Uruguay|Eastern
Republic of Uruguay; UZ UZB Uzbekistan|Republic of Uzbekistan|Usbekistan; VA VAT Holy See (Vatican City State)|Vatican
City|Vatikanstadt|Vatican|Vatikan|Holy See; VC VCT Saint Vincent and the Grenadines|St. Vincent & Grenadines|St. Vincent und
die Grenadinen; VE VEN Venezuela, Bolivarian Republic of|Venezuela|Bolivarian Republic of Venezuela; VG VGB Virgin Islands,
British|British Virgin Islands|Britische Jungferninseln; VI VIR Virgin Islands, U.S.|Virgin Islands of the United
States|U.S. Virgin Islands|Amerikanische Jungferninseln; VN VNM Viet Nam|Socialist Republic of Viet Nam; VU VUT
Vanuatu|Republic of Vanuatu; WF WLF Wallis and Futuna|Wallis und Futuna|Wallis-et-Futuna; WS WSM Samoa|Independent State of
Samoa; XK XKX Kosovo|Republic of Kosovo|Kosova|Kosovë; YE YEM Yemen|Republic of Yemen|Jemen; YT MYT Mayotte; ZA ZAF South
Africa|Republic of South Africa|Südafrika; ZM ZMB Zambia|Republic of Zambia|Sambia; ZW ZWE Zimbabwe|Republic of
Zimbabwe|Simbabwe;
"""
